"""A step as torch runs it, operation by operation: on a CPU, and wherever no graph is recorded."""

from collections.abc import Sequence

import torch
from torch import Tensor

from whisper_service.engine.attention import Rows
from whisper_service.engine.cache import Cache
from whisper_service.engine.candidates import choose
from whisper_service.engine.decoder import Decoder
from whisper_service.engine.rules import Rules
from whisper_service.engine.run import Run
from whisper_service.engine.sampling import Candidate
from whisper_service.engine.send import send


class Eager:
    """Decodes the runs of a batch over its cache."""

    def __init__(self, decoder: Decoder, cache: Cache, rules: Rules) -> None:
        self._decoder = decoder
        self._cache = cache
        self._rules = rules
        self._device: torch.device = cache.table.device

    def prefill(self, run: Run) -> Tensor:
        """Take a run's prompt into its first line, which its other lines share.

        -> logits float32 [2 + n, V] at the start of the transcript, at the prompt's end, and after
        each of the draft's n tokens.
        """
        prompt = run.prompt
        tokens = send([*prompt.tokens, *prompt.draft], self._device)
        states, _ = self._decoder.prefill(self._cache, tokens, run.prompt_line, run.slot)
        start, end = prompt.sot_index, len(prompt.tokens) - 1
        return self._decoder.logits(torch.cat((states[start : start + 1], states[end:])))

    def step(self, runs: Sequence[Run]) -> list[list[Candidate]]:
        """Take the runs' last tokens; -> the candidates of each row, those of a run in a row."""
        logits = self._decoder.logits(self._decoder.step(self._cache, self._rows(runs)))
        bounds = [bound for run in runs for bound in run.bounds(self._rules)]
        self._rules.apply(logits, bounds)
        return choose(logits, runs)

    def _rows(self, runs: Sequence[Run]) -> Rows:
        flat = [
            (said.tokens[-1], run.position, line, run.slot, number)
            for run in runs
            for number, (said, line) in enumerate(zip(run.search.rows, run.lines, strict=False))
        ]
        tokens, positions, lines, slots, queries = send(list(zip(*flat, strict=True)), self._device)
        return Rows(
            tokens=tokens,
            positions=positions,
            lines=lines,
            slots=slots,
            n_positions=1 + max(position for _, position, _, _, _ in flat),
            n_queries=1 + max(number for _, _, _, _, number in flat),
            queries=queries,
        )
