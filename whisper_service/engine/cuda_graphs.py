"""The decode step recorded as CUDA graphs, so that a step costs the GPU's time, not the launches'.

A step of large is some 800 kernels of a few microseconds each; launched one by one, they keep the
GPU waiting for Python. A graph is a fixed list of kernels on fixed memory, so a step is laid out as
a grid with a cell for each query of each slot, up to the last slot in use, and there is a graph
for each size of the grid that comes up (`Shape`). A cell without a row is decoded like any other,
into memory that is never read: no row is changed by what is beside it.

Whatever a step needs from the host goes to the device in one copy, and one copy comes back.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whisper_service.engine import attention
from whisper_service.engine.attention import Attention, Rows
from whisper_service.engine.cache import Cache
from whisper_service.engine.candidates import candidates, draw
from whisper_service.engine.cpu import topk
from whisper_service.engine.decoder import Decoder
from whisper_service.engine.eager import EagerBackend
from whisper_service.engine.logit_filters import LogitFilters
from whisper_service.engine.sampling import Candidate
from whisper_service.engine.sequence_group import SequenceGroup

logger = logging.getLogger(__name__)

Replay = Callable[[], None]

_POSITIONS = (64, 128, 256)
"""Lengths of the past that a graph looks back over, and after them the whole context. A transcript
of 90 tokens ends in the second."""
_QUERIES = (1, 2, 5, 10)
"""Rows of a slot: greedy, then beams and samples. More are decoded without a graph."""
_INPUTS = 8
"""What is sent of a row: token, position, line, and its five constraints."""


class Recorder(Protocol):
    """Makes a graph of work on fixed memory."""

    def record(self, work: Callable[[], None]) -> Replay:
        """Do the work, any number of times; -> a function that does it again."""


class CudaRecorder:
    """Records on a stream of its own; all graphs share one pool for what lies between two kernels,
    since no two of them run at once."""

    def __init__(self, device: torch.device) -> None:
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], None]) -> Replay:
        """See `Recorder`."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            for _ in range(2):  # libraries' handles, plans and workspaces are made at first use
                work()
        current.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        # Another thread may be loading a model: what it allocates is no part of this.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            work()
        return graph.replay


@dataclass(frozen=True, slots=True)
class Shape:
    """What is fixed in a graph."""

    n_slots: int
    n_queries: int
    n_positions: int
    is_plain: bool
    """One row a slot, which has the slot's own line, and all its past there."""

    @property
    def n_rows(self) -> int:
        return self.n_slots * self.n_queries

    @property
    def n_best(self) -> int:
        """Candidates a row can have: one for each beam, and one that ends."""
        return self.n_queries + 1


class CudaGraphBackend:
    """A `Backend` whose steps are recorded when their shape first comes up, then replayed."""

    def __init__(
        self,
        eager: EagerBackend,
        decoder: Decoder,
        cache: Cache,
        filters: LogitFilters,
        recorder: Recorder,
    ) -> None:
        self._eager = eager
        self._decoder = decoder
        self._cache = cache
        self._filters = filters
        self._recorder: Recorder | None = recorder
        self._replays: dict[Shape, Replay] = {}
        self._spare = cache.n_lines - 1
        self._max_rows = cache.n_lines - 1
        device = cache.table.device
        is_pinned = device.type == "cuda"
        self._sent = torch.zeros(self._max_rows, _INPUTS, dtype=torch.int64, pin_memory=is_pinned)
        self._inputs = torch.zeros(self._max_rows, _INPUTS, dtype=torch.int64, device=device)
        self._cells = torch.arange(self._max_rows, device=device)
        self._logits = torch.zeros(self._max_rows, filters.n_vocab, device=device)
        """Masked; only groups that sample look at them after a replay."""
        self._best = torch.zeros(self._max_rows, _QUERIES[-1] + 1, 2, device=device)
        """Token and log-probability of each row's candidates, best first."""

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Those recorded so far."""
        return tuple(self._replays)

    def prefill(self, group: SequenceGroup) -> Tensor:
        """See `EagerBackend`."""
        return self._eager.prefill(group)

    def step(self, groups: Sequence[SequenceGroup]) -> list[list[Candidate]]:
        """See `EagerBackend`."""
        shape = self._shape(groups)
        if shape is None:
            return self._eager.step(groups)
        self._send(shape, groups)
        if not self._is_recorded(shape):
            return self._eager.step(groups)
        self._replays[shape]()
        return self._read(shape, groups)

    def _is_recorded(self, shape: Shape) -> bool:
        """Record the shape's graph unless there is one. Where that fails, steps go on without:
        the work can be done any number of times, so nothing is lost."""
        if shape in self._replays:
            return True
        if self._recorder is None:
            return False
        try:
            self._replays[shape] = self._recorder.record(lambda: self._work(shape))
        except RuntimeError:  # what torch raises for any error of CUDA, want of memory included
            logger.exception("cannot record %s; steps like it are launched one by one", shape)
            self._recorder = None
        return shape in self._replays

    def _shape(self, groups: Sequence[SequenceGroup]) -> Shape | None:
        """The smallest that holds the groups; None if none is recorded for so many rows."""
        n_queries = next_of(_QUERIES, max(len(group.search.rows) for group in groups))
        if n_queries is None:
            return None
        n_ctx = self._cache.table.shape[1]
        n_positions = next_of(_POSITIONS, 1 + max(group.position for group in groups))
        shape = Shape(
            n_slots=min(bucket(1 + max(group.slot for group in groups)), self._cache.n_slots),
            n_queries=n_queries,
            n_positions=min(n_positions or n_ctx, n_ctx),
            is_plain=all(len(group.lines) == 1 for group in groups),
        )
        return shape if shape.n_rows <= self._max_rows else None

    def _send(self, shape: Shape, groups: Sequence[SequenceGroup]) -> None:
        inputs = self._sent[: shape.n_rows]
        fill(inputs.numpy(), shape, groups, self._filters, self._spare)
        # What was sent before has been used: the last step ended with a read.
        self._inputs[: shape.n_rows].copy_(inputs, non_blocking=True)

    def _work(self, shape: Shape) -> None:
        """What is recorded: from the inputs to the best candidates of each row."""
        inputs = self._inputs[: shape.n_rows]
        tokens, positions, lines = inputs[:, :3].unbind(1)
        cells = self._cells[: shape.n_rows]
        rows = Rows(
            tokens=tokens,
            positions=positions,
            lines=lines,
            slots=cells,
            n_positions=shape.n_positions,
            n_queries=shape.n_queries,
            queries=cells,
        )
        rows = replace(rows, past_mask=attention.past_mask(rows, self._cache.past.dtype))
        decoder = replace(self._decoder, attention=_PLAIN if shape.is_plain else _BY_TABLE)
        logits = self._logits[: shape.n_rows]
        logits.copy_(decoder.logits(decoder.step(self._cache, rows)))
        self._filters.mask(logits, inputs[:, 3:])
        values, found = topk(logits.log_softmax(-1), shape.n_best)
        best = self._best[: shape.n_rows, : shape.n_best]
        best[..., 0] = found.float()
        best[..., 1] = values

    def _read(self, shape: Shape, groups: Sequence[SequenceGroup]) -> list[list[Candidate]]:
        starts = [group.slot * shape.n_queries for group in groups]
        best = self._best[: shape.n_rows, : shape.n_best]
        draw(best, self._logits, groups, starts)
        read = best.tolist()
        return [
            candidates(row, group)
            for group, start in zip(groups, starts, strict=True)
            for row in read[start : start + len(group.search.rows)]
        ]


_PLAIN = Attention(attention.attend_past_in_place, attention.attend_audio_in_place)
_BY_TABLE = Attention(attention.attend_past, attention.attend_audio_in_place)


def bucket(n: int) -> int:
    """The number of slots that n are rounded up to: powers of two, from 16 on their halves too."""
    size = 1 << max(0, n - 1).bit_length()
    half = size * 3 // 4
    return half if size >= 32 and n <= half else size


def next_of(sizes: Sequence[int], n: int) -> int | None:
    """The first of `sizes`, which ascend, that is n or more."""
    return next((size for size in sizes if size >= n), None)


def fill(
    inputs: npt.NDArray[np.int64],
    shape: Shape,
    groups: Sequence[SequenceGroup],
    filters: LogitFilters,
    spare: int,
) -> None:
    """Write what a step needs of each cell of the grid, int64 [R, _INPUTS].

    A cell without a row has token 0 at position 0: into the line of its slot, which has no job
    then, or into the spare line where a slot has several cells.
    """
    inputs[:] = 0
    inputs[:, 5] = filters.n_vocab  # all timestamps may follow
    inputs[:, 2] = np.arange(shape.n_rows) if shape.is_plain else spare
    for group in groups:
        start = group.slot * shape.n_queries
        rows = zip(group.search.rows, group.lines, group.constraints(filters), strict=False)
        for cell, (beam, line, constraints) in enumerate(rows, start):
            inputs[cell] = (beam.tokens[-1], group.position, line, *constraints.numbers)
