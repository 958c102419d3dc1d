"""The decode step recorded as CUDA graphs, so that a step costs the GPU's time, not the launches'.

A step of large is some 800 kernels of a few microseconds each; launched one by one, they keep the
GPU waiting for Python. A graph is a fixed list of kernels on fixed memory, so a step is laid out as
a grid with a place for each query of each slot, up to the last slot in use, and there is a graph
for each size of the grid that comes up (`Shape`). A place without a row is decoded like any other,
into memory that nobody reads: no row is changed by what is beside it.

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
from whisper_service.engine.eager import Eager
from whisper_service.engine.rules import Rules
from whisper_service.engine.run import Run
from whisper_service.engine.sampling import Candidate

logger = logging.getLogger(__name__)

Replay = Callable[[], None]

_POSITIONS = (64, 128, 256)
"""Lengths of the past that a graph looks back over, and after them the whole context. A transcript
of 90 tokens ends in the second."""
_QUERIES = (1, 2, 5, 10)
"""Rows of a slot: greedy, then beams and samples. More are decoded without a graph."""
_FACTS = 8
"""What is sent of a row: token, position, line, and its five bounds."""


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


class Graphs:
    """A `Stepper` whose steps are recorded when their shape first comes up, then replayed."""

    def __init__(
        self, eager: Eager, decoder: Decoder, cache: Cache, rules: Rules, recorder: Recorder
    ) -> None:
        self._eager = eager
        self._decoder = decoder
        self._cache = cache
        self._rules = rules
        self._recorder: Recorder | None = recorder
        self._replays: dict[Shape, Replay] = {}
        self._spare = cache.n_lines - 1
        self._max_rows = cache.n_lines - 1
        device = cache.table.device
        is_pinned = device.type == "cuda"
        self._sent = torch.zeros(self._max_rows, _FACTS, dtype=torch.int64, pin_memory=is_pinned)
        self._facts = torch.zeros(self._max_rows, _FACTS, dtype=torch.int64, device=device)
        self._places = torch.arange(self._max_rows, device=device)
        self._logits = torch.zeros(self._max_rows, rules.n_vocab, device=device)
        """Masked; only those who sample look at them after a replay."""
        self._best = torch.zeros(self._max_rows, _QUERIES[-1] + 1, 2, device=device)
        """Token and log-probability of each row's candidates, best first."""

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Those recorded so far."""
        return tuple(self._replays)

    def prefill(self, run: Run) -> Tensor:
        """See `Eager`."""
        return self._eager.prefill(run)

    def step(self, runs: Sequence[Run]) -> list[list[Candidate]]:
        """See `Eager`."""
        shape = self._shape(runs)
        if shape is None:
            return self._eager.step(runs)
        self._send(shape, runs)
        if not self._is_recorded(shape):
            return self._eager.step(runs)
        self._replays[shape]()
        return self._read(shape, runs)

    def _is_recorded(self, shape: Shape) -> bool:
        """Record the shape's graph unless there is one. Where that fails, steps go on without:
        the work can be done any number of times, so nothing is lost."""
        if shape in self._replays:
            return True
        if self._recorder is None:
            return False
        try:
            self._replays[shape] = self._recorder.record(lambda: self._work(shape))
        except RuntimeError:  # what torch raises for whatever CUDA says, want of memory included
            logger.exception("cannot record %s; steps like it are launched one by one", shape)
            self._recorder = None
        return shape in self._replays

    def _shape(self, runs: Sequence[Run]) -> Shape | None:
        """The smallest that holds the runs; None if none is recorded for so many rows."""
        n_queries = next_of(_QUERIES, max(len(run.search.rows) for run in runs))
        if n_queries is None:
            return None
        n_ctx = self._cache.table.shape[1]
        n_positions = next_of(_POSITIONS, 1 + max(run.position for run in runs))
        shape = Shape(
            n_slots=min(bucket(1 + max(run.slot for run in runs)), self._cache.n_slots),
            n_queries=n_queries,
            n_positions=min(n_positions or n_ctx, n_ctx),
            is_plain=all(len(run.lines) == 1 for run in runs),
        )
        return shape if shape.n_rows <= self._max_rows else None

    def _send(self, shape: Shape, runs: Sequence[Run]) -> None:
        facts = self._sent[: shape.n_rows]
        fill(facts.numpy(), shape, runs, self._rules, self._spare)
        # What was sent before has been used: the last step ended with a read.
        self._facts[: shape.n_rows].copy_(facts, non_blocking=True)

    def _work(self, shape: Shape) -> None:
        """What is recorded: from the facts to the best candidates of each row."""
        facts = self._facts[: shape.n_rows]
        tokens, positions, lines = facts[:, :3].unbind(1)
        places = self._places[: shape.n_rows]
        rows = Rows(
            tokens=tokens,
            positions=positions,
            lines=lines,
            slots=places,
            n_positions=shape.n_positions,
            n_queries=shape.n_queries,
            queries=places,
        )
        rows = replace(rows, past_mask=attention.past_mask(rows, self._cache.past.dtype))
        decoder = replace(self._decoder, attention=_PLAIN if shape.is_plain else _BY_TABLE)
        logits = self._logits[: shape.n_rows]
        logits.copy_(decoder.logits(decoder.step(self._cache, rows)))
        self._rules.mask(logits, facts[:, 3:])
        values, found = topk(logits.log_softmax(-1), shape.n_best)
        best = self._best[: shape.n_rows, : shape.n_best]
        best[..., 0] = found.float()
        best[..., 1] = values

    def _read(self, shape: Shape, runs: Sequence[Run]) -> list[list[Candidate]]:
        starts = [run.slot * shape.n_queries for run in runs]
        best = self._best[: shape.n_rows, : shape.n_best]
        draw(best, self._logits, runs, starts)
        read = best.tolist()
        return [
            candidates(row, run)
            for run, start in zip(runs, starts, strict=True)
            for row in read[start : start + len(run.search.rows)]
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
    facts: npt.NDArray[np.int64], shape: Shape, runs: Sequence[Run], rules: Rules, spare: int
) -> None:
    """Write what a step needs of each place of the grid, int64 [R, _FACTS].

    A place without a row says token 0 at position 0: into the line of its slot, which has no job
    then, or into the spare line where a slot has several places.
    """
    facts[:] = 0
    facts[:, 5] = rules.n_vocab  # all timestamps may follow
    facts[:, 2] = np.arange(shape.n_rows) if shape.is_plain else spare
    for run in runs:
        start = run.slot * shape.n_queries
        rows = zip(run.search.rows, run.lines, run.bounds(rules), strict=False)
        for place, (said, line, bounds) in enumerate(rows, start):
            facts[place] = (said.tokens[-1], run.position, line, *bounds.numbers)
