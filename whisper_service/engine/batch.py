"""The sequence groups being decoded now. They join and leave between two steps; a step is a token
for each of their rows.

Owns the cache's slots and lines, and the order of work on the device. Refuses to know what a group
is for (`Engine`), which comes next (`Scheduler`), and how a step is computed (`Backend`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

import torch
from torch import Tensor

from whisper_service.engine.cache import Cache
from whisper_service.engine.candidates import choose, likeliest
from whisper_service.engine.device import to_device
from whisper_service.engine.fallback import Result
from whisper_service.engine.logit_filters import LogitFilters
from whisper_service.engine.request import Request
from whisper_service.engine.sampling import Candidate
from whisper_service.engine.sequence_group import SequenceGroup


class Backend(Protocol):
    """What works on the device: `EagerBackend` or `CudaGraphBackend`."""

    def prefill(self, group: SequenceGroup) -> Tensor:
        """Take a group's prompt and its draft of n tokens; -> logits float32 [2 + n, V] where the
        transcript starts, at the prompt's end, and after each token of the draft."""

    def step(self, groups: Sequence[SequenceGroup]) -> list[list[Candidate]]:
        """Take the groups' last tokens; -> the candidates of each row, a group's side by side."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A group whose decode is over. It has its slot and lines until it is released."""

    group: SequenceGroup
    result: Result


class Batch:
    """Slots and lines, and the groups that have them. One thread.

    A slot's first row has the line of the same number; the lines after those are for groups of
    several rows.
    """

    def __init__(self, backend: Backend, cache: Cache, n_lines: int, filters: LogitFilters) -> None:
        self._backend = backend
        self._cache = cache
        self._n_lines = n_lines
        self._filters = filters
        self._device = cache.table.device
        self._groups: list[SequenceGroup] = []
        self.reset()

    def reset(self) -> None:
        """Forget all groups, and free what was allocated."""
        n_slots = self._cache.n_slots
        self._groups = []
        self._free_slots = list(range(n_slots))
        self._free_lines = list(range(n_slots, self._n_lines))

    @property
    def max_width(self) -> int:
        """The most rows a group may have."""
        return 1 + self._n_lines - self._cache.n_slots

    @property
    def n_groups(self) -> int:
        return len(self._groups)

    @property
    def n_rows(self) -> int:
        return sum(len(group.search.rows) for group in self._groups)

    def has_room(self, widths: Sequence[int]) -> bool:
        """Whether groups of so many rows each could be allocated now."""
        n_lines = sum(width - 1 for width in widths)
        return len(widths) <= len(self._free_slots) and n_lines <= len(self._free_lines)

    def allocate(self, widths: Sequence[int]) -> list[list[int]]:
        """Take a slot and lines for each group of so many rows; there must be room.

        -> each group's lines, of which the first has its slot's number.
        """
        # The lowest first: work on a GPU goes over all slots up to the last one in use.
        slots, self._free_slots = _take(sorted(self._free_slots), len(widths))
        allocated = []
        for slot, width in zip(slots, widths, strict=True):
            more, self._free_lines = _take(self._free_lines, width - 1)
            allocated.append([slot, *more])
        return allocated

    def prefill(self, groups: Sequence[SequenceGroup]) -> list[Finished]:
        """Take in groups, whose windows are in their slots, up to their first tokens.

        -> those that are over already.
        """
        for group in groups:
            logits = self._backend.prefill(group)
            group.no_speech = logits[0].softmax(-1)[group.tokenizer.no_speech]
            group.first_logits = logits[1:]
        self._groups += groups
        finished = self._start([group for group in groups if not group.prompt.draft])
        for group in groups:
            if group.prompt.draft:
                finished += self._follow_draft(group)
        return finished

    def decode(self) -> list[Finished]:
        """Decode one token for every row; -> the groups that are over then."""
        groups = list(self._groups)
        return self._advance(groups, self._backend.step(groups)) if groups else []

    def cancel(self, request: Request) -> None:
        """Drop a request's group; its slot and lines are free at once."""
        for group in self._groups:
            if group.request is request:
                self.release(group)
                return

    def release(self, group: SequenceGroup) -> None:
        """Forget a group; its slot and lines are free."""
        self._groups.remove(group)
        self._free_slots.append(group.slot)
        self._free_lines += [line for line in group.lines if line != group.slot]

    def _follow_draft(self, group: SequenceGroup) -> list[Finished]:
        """Begin a greedy decode with what its draft has right and the token after that: speculative
        decoding (arXiv:2211.17192) with what was heard before in the place of a small model."""
        draft, logits = group.prompt.draft, group.first_logits
        assert logits is not None
        group.begin(self._device)
        self._cache.table[group.prompt_line, : len(group.prompt.tokens) + len(draft)] = (
            group.prompt_line
        )
        group.first_logits = logits[:1].clone() if group.has_more_temperatures else None
        constraints = [
            self._filters.constraints(draft[:n], None, is_timed=False)
            for n in range(len(draft) + 1)
        ]
        self._filters.apply(logits, constraints)
        for candidate, guess in zip_longest(likeliest(logits), draft):
            group.advance([[candidate]])
            if not group.search.rows:
                return self._end_search(group)
            if candidate.token != guess:
                break
        return []

    def _start(self, groups: Sequence[SequenceGroup]) -> list[Finished]:
        """Begin the groups' decodes at their next temperatures: their first tokens."""
        if not groups:
            return []
        logits: list[Tensor] = []
        for group in groups:
            assert group.first_logits is not None
            group.begin(self._device)
            lines = to_device(group.lines, self._device)
            self._cache.table[lines, : len(group.prompt.tokens)] = group.prompt_line
            logits.append(group.first_logits.expand(len(group.search.rows), -1))
            if not group.has_more_temperatures:
                group.first_logits = None
        constraints = [
            constraint for group in groups for constraint in group.constraints(self._filters)
        ]
        masked = torch.cat(logits)
        self._filters.apply(masked, constraints)
        return self._advance(groups, choose(masked, groups))

    def _advance(
        self, groups: Sequence[SequenceGroup], found: Sequence[Sequence[Candidate]]
    ) -> list[Finished]:
        """Let each group choose from its rows' candidates; -> those that are over."""
        picked = iter(found)
        takeovers: list[tuple[int, int]] = []
        for group in groups:
            takeovers += group.advance([next(picked) for _ in group.search.rows])
        if takeovers:
            lines, sources = to_device(takeovers, self._device).unbind(1)
            self._cache.table[lines] = self._cache.table[sources]
        ended = [group for group in groups if not group.search.rows]
        return [finished for group in ended for finished in self._end_search(group)]

    def _end_search(self, group: SequenceGroup) -> list[Finished]:
        """Take the result, or begin again at the next temperature."""
        result = group.judge(group.result())
        return self._start([group]) if result is None else [Finished(group, result)]


def _take(free: list[int], n: int) -> tuple[list[int], list[int]]:
    return free[:n], free[n:]
