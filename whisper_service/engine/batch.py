"""The jobs being decoded now. Rows join and leave between two steps; a step is a token for each.

Owns the cache's slots and lines, and the order of work on the device. Refuses to know who waits for
an answer and which job comes next (`Scheduler`).
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from whisper_service.engine.attention import Rows
from whisper_service.engine.cache import Cache
from whisper_service.engine.fallback import Result
from whisper_service.engine.rules import Rules
from whisper_service.engine.run import Run, width
from whisper_service.engine.sampling import Candidate
from whisper_service.engine.step import Decoder
from whisper_service.engine.ticket import Ticket
from whisper_service.engine.top import top


class Listener(Protocol):
    """What the batch asks of the engine that owns it."""

    def listen(self, tickets: Sequence[Ticket], slots: Sequence[int]) -> None:
        """Fill the slots with the tickets' windows."""

    def begin(self, ticket: Ticket, slot: int, lines: list[int]) -> Run:
        """Say how the ticket's job is to be decoded, now that its window is in the slot."""

    def finish(self, run: Run, result: Result) -> None:
        """Give the run's ticket its answer; the window is still in its slot."""


class Batch:
    """Slots and lines, and the runs that have them. One thread."""

    def __init__(self, decoder: Decoder, cache: Cache, rules: Rules, listener: Listener) -> None:
        self._decoder = decoder
        self._cache = cache
        self._rules = rules
        self._listener = listener
        self._device = cache.table.device
        self._runs: list[Run] = []
        self.reset()

    def reset(self) -> None:
        """Forget all runs."""
        self._runs = []
        self._free_slots = list(range(self._cache.n_slots))
        self._free_lines = list(range(self._cache.n_lines))

    @property
    def n_jobs(self) -> int:
        return len(self._runs)

    @property
    def n_rows(self) -> int:
        return sum(len(run.search.rows) for run in self._runs)

    def has_room(self, *tickets: Ticket) -> bool:
        """Whether the jobs could be admitted now."""
        n_lines = sum(width(ticket.job.options) for ticket in tickets)
        return len(tickets) <= len(self._free_slots) and n_lines <= len(self._free_lines)

    def admit(self, tickets: Sequence[Ticket]) -> None:
        """Take jobs in, for which there must be room, up to their first tokens."""
        slots, self._free_slots = _take(self._free_slots, len(tickets))
        self._listener.listen(tickets, slots)
        for ticket, slot in zip(tickets, slots, strict=True):
            lines, self._free_lines = _take(self._free_lines, width(ticket.job.options))
            run = self._listener.begin(ticket, slot, lines)
            self._runs.append(run)
            self._prefill(run)
            self._start(run)

    def cancel(self, ticket: Ticket) -> None:
        """Drop a job; its slot and lines are free at once."""
        for run in self._runs:
            if run.ticket is ticket:
                self._leave(run)
                return

    def step(self) -> None:
        """Decode one token for every row; jobs that are done have their answers then."""
        runs = list(self._runs)
        if not runs:
            return
        logits = self._decoder.logits(self._decoder.step(self._cache, self._rows(runs)))
        self._advance(runs, logits)

    def _rows(self, runs: Sequence[Run]) -> Rows:
        """The batch's rows, those of a job side by side."""
        flat = [
            (said.tokens[-1], run.position, line, run.slot, number)
            for run in runs
            for number, (said, line) in enumerate(zip(run.search.rows, run.lines, strict=False))
        ]
        by_fact = torch.tensor(list(zip(*flat, strict=True)), device=self._device)
        tokens, positions, lines, slots, queries = by_fact
        return Rows(
            tokens=tokens,
            positions=positions,
            lines=lines,
            slots=slots,
            n_positions=1 + max(position for _, position, _, _, _ in flat),
            n_queries=1 + max(number for _, _, _, _, number in flat),
            queries=queries,
        )

    def _prefill(self, run: Run) -> None:
        """Take the prompt into the run's first line; its other lines share it."""
        tokens = torch.tensor(run.prompt.tokens, device=self._device)
        states, _ = self._decoder.prefill(self._cache, tokens, run.prompt_line, run.slot)
        at_start, at_end = self._decoder.logits(states[[run.prompt.sot_index, -1]])
        run.no_speech_prob = float(at_start.softmax(-1)[run.tokenizer.no_speech])
        run.first_logits = at_end

    def _start(self, run: Run) -> None:
        """Begin the decode at the run's next temperature: its first tokens."""
        assert run.first_logits is not None
        run.begin(self._device)
        self._cache.table[run.lines, : len(run.prompt.tokens)] = run.prompt_line
        logits = run.first_logits.repeat(len(run.search.rows), 1)
        if not run.has_more_temperatures:
            run.first_logits = None
        self._advance([run], logits)

    def _advance(self, runs: Sequence[Run], logits: Tensor) -> None:
        """Choose tokens from the logits [R, V] of the runs' rows; finish what is over."""
        bounds = [bound for run in runs for bound in run.bounds(self._rules)]
        picked = iter(_pick(self._rules.apply(logits, bounds), runs))
        takeovers: list[tuple[int, int]] = []
        for run in runs:
            takeovers += run.advance([next(picked) for _ in run.search.rows])
        if takeovers:
            lines, sources = torch.tensor(takeovers, device=self._device).unbind(1)
            self._cache.table[lines] = self._cache.table[sources]
        for run in runs:
            if not run.search.rows:
                self._end_search(run)

    def _end_search(self, run: Run) -> None:
        result = run.result()
        if run.is_final(result):
            self._listener.finish(run, result)
            self._leave(run)
        else:
            self._start(run)

    def _leave(self, run: Run) -> None:
        self._runs.remove(run)
        self._free_slots.append(run.slot)
        self._free_lines += run.lines


def _take(free: list[int], n: int) -> tuple[list[int], list[int]]:
    return free[:n], free[n:]


def _pick(logits: Tensor, runs: Sequence[Run]) -> list[list[Candidate]]:
    """Choose each row's candidates from masked logits float32 [R, V]; the one read of a step."""
    logprobs = logits.log_softmax(-1)  # in one pass; logsumexp takes three
    values, tokens = top(logprobs, max(run.search.n_candidates for run in runs))
    start = 0
    for run in runs:
        rows = slice(start, start + len(run.search.rows))
        start = rows.stop
        if run.search.temperature > 0:
            chances = (logits[rows] / run.search.temperature).softmax(-1)
            drawn = torch.multinomial(chances, 1, replacement=True, generator=run.generator)
            tokens[rows, :1] = drawn
            values[rows, :1] = logprobs[rows].gather(1, drawn)
    # A token fits a float32 exactly, so that tokens and log-probabilities are one copy.
    read = torch.stack([tokens.float(), values], dim=-1).tolist()
    wanted = [run.search.n_candidates for run in runs for _ in run.search.rows]
    return [
        [Candidate(int(token), logprob) for token, logprob in row[:n_wanted]]
        for row, n_wanted in zip(read, wanted, strict=True)
    ]
