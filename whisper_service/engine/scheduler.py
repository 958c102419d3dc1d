"""One thread that owns the device and says which jobs it decodes next.

Live jobs come first, then those whose deadline is nearest, then the oldest. Jobs that can be
decoded together are, whoever sent them; a batch that is not full waits for company for at most
`batch_wait`. Refuses to know what a job is for and what decoding is: `Engine` does both.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from whisper_service.errors import InternalError, Overloaded, Restarting, ServiceError
from whisper_service.types import DecodeJob, Hypothesis

logger = logging.getLogger(__name__)

T = TypeVar("T")
_RETRY_AFTER = 1.0
"""Seconds a refused caller is told to wait: about one batch."""


class BatchDecoder(Protocol):
    """What the scheduler needs of an engine."""

    def batch_key(self, job: DecodeJob) -> Hashable:
        """Jobs with equal keys may share a batch."""

    def decode(self, jobs: Sequence[DecodeJob]) -> list[Hypothesis | ServiceError]:
        """Answer each job, in order."""


@dataclass(slots=True, eq=False)
class _Entry:
    """A job, or a bare call, that waits; `key` says what it may share a batch with."""

    engine: BatchDecoder | None
    job: DecodeJob | None
    call: Callable[[], Any] | None
    key: Hashable
    number: int
    future: Future[Any] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)

    @property
    def rank(self) -> tuple[bool, float, int]:
        """Sorts by urgency. Calls count as live: they are short."""
        if self.job is None:
            return (False, math.inf, self.number)
        deadline = math.inf if self.job.deadline is None else self.job.deadline
        return (self.job.priority != "live", deadline, self.number)

    @property
    def is_late(self) -> bool:
        """Whether it had to be begun by now."""
        deadline = self.job.deadline if self.job else None
        return deadline is not None and time.time() > deadline


class Scheduler:
    """Decodes jobs one batch at a time. `submit` from any thread; `close` when done."""

    def __init__(
        self, *, max_batch_size: int = 8, batch_wait: float = 0.01, max_queued: int = 1024
    ) -> None:
        self._max_batch_size = max_batch_size
        self._batch_wait = batch_wait
        self._max_queued = max_queued
        self._waiting: list[_Entry] = []
        self._n_submitted = 0
        self._changed = threading.Condition()
        self._closed = False
        self._busy_since: float | None = None
        self._last_success: float | None = None
        self._thread = threading.Thread(target=self._run, name="whisper-decode", daemon=True)
        self._thread.start()

    def submit(self, engine: BatchDecoder, job: DecodeJob) -> "Future[Hypothesis]":
        """Queue a job. Its future ends with a hypothesis or an error of the tree.

        Cancelling the future drops the job if it has not begun. Raises `Overloaded` if the queue
        is full, `Restarting` after `close`.
        """
        return self._enqueue(engine, job, None, (id(engine), engine.batch_key(job)))

    def call(self, function: Callable[[], T]) -> "Future[T]":
        """Run `function` on the device's thread, between two batches. Raises as `submit`."""
        return self._enqueue(None, None, function, object())

    @property
    def busy_since(self) -> float | None:
        """When the work in hand began, by `time.monotonic`; None while idle."""
        return self._busy_since

    @property
    def last_success(self) -> float | None:
        """When work last ended well, by `time.monotonic`."""
        return self._last_success

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def close(self, timeout: float | None = None) -> None:
        """End the thread after the batch in hand; what still waits fails with `Restarting`."""
        with self._changed:
            self._closed = True
            left, self._waiting = self._waiting, []
            self._changed.notify_all()
        for entry in left:
            if entry.future.set_running_or_notify_cancel():
                entry.future.set_exception(_closing())
        self._thread.join(timeout)

    def _enqueue(
        self,
        engine: BatchDecoder | None,
        job: DecodeJob | None,
        call: Callable[[], Any] | None,
        key: Hashable,
    ) -> Future[Any]:
        with self._changed:
            if self._closed:
                raise _closing()
            self._waiting = [entry for entry in self._waiting if not entry.future.cancelled()]
            if len(self._waiting) >= self._max_queued:
                raise Overloaded(
                    f"{len(self._waiting)} windows already wait for this model server, the most"
                    " it takes; try again.",
                    retry_after=_RETRY_AFTER,
                )
            self._n_submitted += 1
            entry = _Entry(engine, job, call, key, self._n_submitted)
            self._waiting.append(entry)
            self._changed.notify_all()
            return entry.future

    def _run(self) -> None:
        while self._step():
            pass

    def _step(self) -> bool:
        """Do one batch; False once closed. On return nothing refers to an engine any more, so
        that one which was unloaded meanwhile gives its memory back."""
        batch = self._next_batch()
        if running := [entry for entry in batch if _begin(entry)]:
            self._work(running)
        return bool(batch)

    def _next_batch(self) -> list[_Entry]:
        """Wait for the next batch and take it out of the queue; empty once closed."""
        with self._changed:
            while not self._closed:
                batch = self._most_urgent_batch()
                wait = self._company_wait(batch)
                if batch and wait <= 0:
                    taken = set(map(id, batch))
                    self._waiting = [e for e in self._waiting if id(e) not in taken]
                    return batch
                self._changed.wait(wait if batch else None)
            return []

    def _most_urgent_batch(self) -> list[_Entry]:
        """The most urgent entry and those that can be decoded with it, most urgent first."""
        queue = sorted(self._waiting, key=lambda entry: entry.rank)
        if not queue:
            return []
        return [entry for entry in queue if entry.key == queue[0].key][: self._max_batch_size]

    def _company_wait(self, batch: list[_Entry]) -> float:
        """How long this batch may still wait to fill, counted from its first entry's arrival."""
        if not batch or batch[0].job is None or len(batch) == self._max_batch_size:
            return 0.0
        return min(e.arrived for e in batch) + self._batch_wait - time.monotonic()

    def _work(self, batch: list[_Entry]) -> None:
        """Run a batch and settle every future in it, whatever happens."""
        self._busy_since = time.monotonic()
        try:
            outcomes = _outcomes(batch)
        except Exception:  # the thread must outlive any bug in decoding
            logger.exception("decoding a batch of %d failed", len(batch))
            if len(batch) > 1:  # find the job that is to blame; the others are innocent
                for entry in batch:
                    self._work([entry])
                return
            outcomes = [InternalError()]
        # What is asked of this object after an answer came must already be true.
        self._busy_since = None
        if not all(isinstance(outcome, ServiceError) for outcome in outcomes):
            self._last_success = time.monotonic()
        for entry, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                entry.future.set_exception(outcome)
            else:
                entry.future.set_result(outcome)


def _outcomes(batch: list[_Entry]) -> Sequence[Any]:
    first = batch[0]
    if first.engine is not None:
        return first.engine.decode([entry.job for entry in batch if entry.job is not None])
    assert first.call is not None
    try:
        return [first.call()]
    except ServiceError as error:
        return [error]


def _begin(entry: _Entry) -> bool:
    """Mark an entry as running; False if it was cancelled or comes too late."""
    if not entry.future.set_running_or_notify_cancel():
        return False
    if not entry.is_late:
        return True
    entry.future.set_exception(
        Overloaded(
            "The window could not be begun before its deadline: too much other work was waiting.",
            retry_after=_RETRY_AFTER,
        )
    )
    return False


def _closing() -> Restarting:
    return Restarting("This model server is shutting down.", retry_after=_RETRY_AFTER)
