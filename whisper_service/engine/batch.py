"""The jobs being decoded now. Rows join and leave between two steps; a step is a token for each.

Owns the cache's slots and lines, and the order of work on the device. Refuses to know who waits for
an answer and which job comes next (`Scheduler`), and how a step is computed (`Stepper`).
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Protocol

import torch
from torch import Tensor

from whisper_service.engine.cache import Cache
from whisper_service.engine.candidates import choose, likeliest
from whisper_service.engine.fallback import Result
from whisper_service.engine.rules import Rules
from whisper_service.engine.run import Run, width
from whisper_service.engine.sampling import Candidate
from whisper_service.engine.send import send
from whisper_service.engine.ticket import Ticket


class Listener(Protocol):
    """What the batch asks of the engine that owns it."""

    def listen(self, tickets: Sequence[Ticket], slots: Sequence[int]) -> None:
        """Fill the slots with the tickets' windows."""

    def begin(self, ticket: Ticket, slot: int, lines: list[int]) -> Run:
        """Say how the ticket's job is to be decoded, now that its window is in the slot."""

    def finish(self, run: Run, result: Result) -> None:
        """Give the run's ticket its answer; the window is still in its slot."""


class Stepper(Protocol):
    """What works on the device: `Eager` or `Graphs`."""

    def prefill(self, run: Run) -> Tensor:
        """Take a run's prompt and its draft of n tokens; -> logits float32 [2 + n, V] where the
        transcript starts, at the prompt's end, and after each token of the draft."""

    def step(self, runs: Sequence[Run]) -> list[list[Candidate]]:
        """Take the runs' last tokens; -> the candidates of each row, those of a run in a row."""


class Batch:
    """Slots and lines, and the runs that have them. One thread.

    A slot's first row has the line of the same number; the lines after those are for whoever needs
    several.
    """

    def __init__(
        self, stepper: Stepper, cache: Cache, n_lines: int, rules: Rules, listener: Listener
    ) -> None:
        self._stepper = stepper
        self._cache = cache
        self._n_lines = n_lines
        self._rules = rules
        self._listener = listener
        self._device = cache.table.device
        self._runs: list[Run] = []
        self.reset()

    def reset(self) -> None:
        """Forget all runs."""
        n_slots = self._cache.n_slots
        self._runs = []
        self._free_slots = list(range(n_slots))
        self._free_lines = list(range(n_slots, self._n_lines))

    @property
    def max_width(self) -> int:
        """The most rows a job may have."""
        return 1 + self._n_lines - self._cache.n_slots

    @property
    def n_jobs(self) -> int:
        return len(self._runs)

    @property
    def n_rows(self) -> int:
        return sum(len(run.search.rows) for run in self._runs)

    def has_room(self, *tickets: Ticket) -> bool:
        """Whether the jobs could be admitted now."""
        n_lines = sum(width(ticket.job.options) - 1 for ticket in tickets)
        return len(tickets) <= len(self._free_slots) and n_lines <= len(self._free_lines)

    def admit(self, tickets: Sequence[Ticket]) -> None:
        """Take jobs in, for which there must be room, up to their first tokens."""
        # The lowest first: work on a GPU goes over all slots up to the last one in use.
        slots, self._free_slots = _take(sorted(self._free_slots), len(tickets))
        self._listener.listen(tickets, slots)
        runs: list[Run] = []
        for ticket, slot in zip(tickets, slots, strict=True):
            more, self._free_lines = _take(self._free_lines, width(ticket.job.options) - 1)
            run = self._listener.begin(ticket, slot, [slot, *more])
            self._prefill(run)
            runs.append(run)
        self._runs += runs
        self._start([run for run in runs if not run.prompt.draft])
        for run in runs:
            if run.prompt.draft:
                self._follow_draft(run)

    def cancel(self, ticket: Ticket) -> None:
        """Drop a job; its slot and lines are free at once."""
        for run in self._runs:
            if run.ticket is ticket:
                self._leave(run)
                return

    def step(self) -> None:
        """Decode one token for every row; jobs that are done have their answers then."""
        runs = list(self._runs)
        if runs:
            self._advance(runs, self._stepper.step(runs))

    def _prefill(self, run: Run) -> None:
        logits = self._stepper.prefill(run)
        run.no_speech = logits[0].softmax(-1)[run.tokenizer.no_speech]
        run.first_logits = logits[1:]

    def _follow_draft(self, run: Run) -> None:
        """Begin a greedy decode with what its draft has right and the token after that: speculative
        decoding (arXiv:2211.17192) with what was heard before in the place of a small model."""
        draft, logits = run.prompt.draft, run.first_logits
        assert logits is not None
        run.begin(self._device)
        self._cache.table[run.prompt_line, : len(run.prompt.tokens) + len(draft)] = run.prompt_line
        run.first_logits = logits[:1].clone() if run.has_more_temperatures else None
        bounds = [
            self._rules.bounds(draft[:n], None, is_timed=False) for n in range(len(draft) + 1)
        ]
        self._rules.apply(logits, bounds)
        for candidate, guess in zip_longest(likeliest(logits), draft):
            run.advance([[candidate]])
            if not run.search.rows:
                self._end_search(run)
            if not run.search.rows or candidate.token != guess:
                return

    def _start(self, runs: Sequence[Run]) -> None:
        """Begin the runs' decodes at their next temperatures: their first tokens."""
        if not runs:
            return
        logits: list[Tensor] = []
        for run in runs:
            assert run.first_logits is not None
            run.begin(self._device)
            lines = send(run.lines, self._device)
            self._cache.table[lines, : len(run.prompt.tokens)] = run.prompt_line
            logits.append(run.first_logits.expand(len(run.search.rows), -1))
            if not run.has_more_temperatures:
                run.first_logits = None
        bounds = [bound for run in runs for bound in run.bounds(self._rules)]
        masked = torch.cat(logits)
        self._rules.apply(masked, bounds)
        self._advance(runs, choose(masked, runs))

    def _advance(self, runs: Sequence[Run], found: Sequence[Sequence[Candidate]]) -> None:
        """Let each run choose from its rows' candidates; finish what is over."""
        picked = iter(found)
        takeovers: list[tuple[int, int]] = []
        for run in runs:
            takeovers += run.advance([next(picked) for _ in run.search.rows])
        if takeovers:
            lines, sources = send(takeovers, self._device).unbind(1)
            self._cache.table[lines] = self._cache.table[sources]
        for run in runs:
            if not run.search.rows:
                self._end_search(run)

    def _end_search(self, run: Run) -> None:
        result = run.judge(run.result())
        if result is not None:
            self._listener.finish(run, result)
            self._leave(run)
        else:
            self._start([run])

    def _leave(self, run: Run) -> None:
        self._runs.remove(run)
        self._free_slots.append(run.slot)
        self._free_lines += [line for line in run.lines if line != run.slot]


def _take(free: list[int], n: int) -> tuple[list[int], list[int]]:
    return free[:n], free[n:]
