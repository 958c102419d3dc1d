"""A step as torch runs it, operation by operation: on a CPU, and wherever no graph is recorded."""

from collections.abc import Sequence

import torch
from torch import Tensor

from whisper_service.engine.attention import Rows
from whisper_service.engine.cache import Cache
from whisper_service.engine.candidates import choose
from whisper_service.engine.decoder import Decoder
from whisper_service.engine.device import to_device
from whisper_service.engine.logit_filters import LogitFilters
from whisper_service.engine.sampling import Candidate
from whisper_service.engine.sequence_group import SequenceGroup


class EagerBackend:
    """Decodes the groups of a batch over its cache."""

    def __init__(self, decoder: Decoder, cache: Cache, filters: LogitFilters) -> None:
        self._decoder = decoder
        self._cache = cache
        self._filters = filters
        self._device: torch.device = cache.table.device

    def prefill(self, group: SequenceGroup) -> Tensor:
        """Take a group's prompt into its first line, which its other lines share.

        -> logits float32 [2 + n, V] at the start of the transcript, at the prompt's end, and after
        each of the draft's n tokens.
        """
        prompt = group.prompt
        tokens = to_device([*prompt.tokens, *prompt.draft], self._device)
        states, _ = self._decoder.prefill(self._cache, tokens, group.prompt_line, group.slot)
        start, end = prompt.sot_index, len(prompt.tokens) - 1
        return self._decoder.logits(torch.cat((states[start : start + 1], states[end:])))

    def step(self, groups: Sequence[SequenceGroup]) -> list[list[Candidate]]:
        """Take the groups' last tokens; -> the candidates of each row, a group's side by side."""
        logits = self._decoder.logits(self._decoder.step(self._cache, self._rows(groups)))
        constraints = [
            constraint for group in groups for constraint in group.constraints(self._filters)
        ]
        self._filters.apply(logits, constraints)
        return choose(logits, groups)

    def _rows(self, groups: Sequence[SequenceGroup]) -> Rows:
        flat = [
            (beam.tokens[-1], group.position, line, group.slot, number)
            for group in groups
            for number, (beam, line) in enumerate(zip(group.search.rows, group.lines, strict=False))
        ]
        tokens, positions, lines, slots, queries = to_device(
            list(zip(*flat, strict=True)), self._device
        )
        return Rows(
            tokens=tokens,
            positions=positions,
            lines=lines,
            slots=slots,
            n_positions=1 + max(position for _, position, _, _, _ in flat),
            n_queries=1 + max(number for _, _, _, _, number in flat),
            queries=queries,
        )
