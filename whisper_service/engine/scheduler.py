"""One thread that owns the device and says which jobs join the batch next.

Finals of streams come first, then their partials; then those whose deadline is nearest, then the
oldest. Jobs join and leave a model's batch between two steps, so that a short one never waits for a
long one, and a cancelled one gives its place back within a step. Where joining takes the device for
longer than a step, nobody joins between the steps of a final. Refuses to know what a job is for and
what decoding is: `Engine` does both.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from whisper_service.engine.meter import Meter, NoMeter
from whisper_service.engine.ticket import Ticket
from whisper_service.errors import (
    RETRY_AFTER,
    InternalError,
    Overloaded,
    Restarting,
    ServiceError,
)
from whisper_service.types import SAMPLE_RATE, DecodeJob, Hypothesis

logger = logging.getLogger(__name__)

T = TypeVar("T")
_URGENCY = {"final": 0, "live": 1, "file": 2}


class StepDecoder(Protocol):
    """What the scheduler needs of an engine. Only its thread calls it."""

    @property
    def name(self) -> str:
        """The model's."""

    @property
    def n_rows(self) -> int:
        """Rows the next step decodes a token for."""

    @property
    def encode_batch(self) -> int:
        """Jobs that are best admitted together; between two admissions the others step."""

    def refuse(self, ticket: Ticket) -> bool:
        """Answer a job that cannot be decoded with its error."""

    def has_room(self, *tickets: Ticket) -> bool:
        """Whether the jobs could be admitted now."""

    def admit(self, tickets: Sequence[Ticket]) -> None:
        """Begin to decode."""

    def step(self) -> None:
        """Decode one token for every row; tickets that are done have their outcome then."""

    def cancel(self, ticket: Ticket) -> None:
        """Drop a job."""

    def reset(self) -> None:
        """Drop all jobs."""


@dataclass(slots=True, eq=False)
class _Entry:
    """A job, or a bare call, that waits or is being decoded."""

    engine: StepDecoder | None
    ticket: Ticket | None
    call: Callable[[], Any] | None
    number: int
    future: Future[Any] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    is_suspect: bool = False
    """It was in a batch that crashed, so it is decoded alone."""

    @property
    def is_live(self) -> bool:
        """Calls count as live: they are short."""
        return self.ticket is None or self.ticket.job.priority != "file"

    @property
    def is_final(self) -> bool:
        """Whether a stream's final waits for it."""
        return self.ticket is not None and self.ticket.job.priority == "final"

    @property
    def rank(self) -> tuple[int, float, int]:
        """Sorts by urgency."""
        if self.ticket is None:
            return (_URGENCY["live"], math.inf, self.number)
        job = self.ticket.job
        deadline = math.inf if job.deadline is None else job.deadline
        return (_URGENCY[job.priority], deadline, self.number)

    @property
    def is_late(self) -> bool:
        """Whether it had to be begun by now."""
        deadline = self.ticket.job.deadline if self.ticket else None
        return deadline is not None and time.time() > deadline


class Scheduler:
    """Decodes jobs as they come. `submit` from any thread; `close` when done."""

    def __init__(
        self,
        *,
        max_batch_size: int = 8,
        batch_wait: float = 0.01,
        max_queued: int = 1024,
        meter: Meter | None = None,
    ) -> None:
        self._meter = meter or NoMeter()
        self._max_batch_size = max_batch_size
        self._batch_wait = batch_wait
        self._max_queued = max_queued
        self._waiting: list[_Entry] = []
        self._running: list[_Entry] = []
        self._n_submitted = 0
        self._changed = threading.Condition()
        self._closed = False
        self._busy_since: float | None = None
        self._last_success: float | None = None
        self._thread = threading.Thread(target=self._run, name="whisper-decode", daemon=True)
        self._thread.start()

    def submit(self, engine: StepDecoder, job: DecodeJob | Ticket) -> "Future[Hypothesis]":
        """Queue a job. Its future ends with a hypothesis or an error of the tree. Who brings its
        ticket can look at its times afterwards.

        Cancelling the future drops the job, also while it is being decoded. Raises `Overloaded`
        if the queue is full, `Restarting` after `close`.
        """
        ticket = job if isinstance(job, Ticket) else Ticket(job)
        return self._enqueue(engine, ticket, None)

    def call(self, function: Callable[[], T]) -> "Future[T]":
        """Run `function` on the device's thread, between two steps. Raises as `submit`."""
        return self._enqueue(None, None, function)

    @property
    def busy_since(self) -> float | None:
        """When the step in hand began, by `time.monotonic`; None while idle."""
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
        """End the thread after the jobs being decoded; what waits fails with `Restarting`."""
        with self._changed:
            self._closed = True
            left, self._waiting = self._waiting, []
            self._changed.notify_all()
        for entry in left:
            _resolve(entry, _closing())
        self._thread.join(timeout)

    # --- the queue; any thread

    def _enqueue(
        self, engine: StepDecoder | None, ticket: Ticket | None, call: Callable[[], Any] | None
    ) -> Future[Any]:
        with self._changed:
            if self._closed:
                raise _closing()
            self._waiting = [entry for entry in self._waiting if not entry.future.cancelled()]
            if len(self._waiting) >= self._max_queued:
                raise Overloaded(
                    f"{len(self._waiting)} windows already wait for this model server, the most"
                    " it takes; try again.",
                    retry_after=RETRY_AFTER,
                )
            self._n_submitted += 1
            entry = _Entry(engine, ticket, call, self._n_submitted)
            self._waiting.append(entry)
            self._changed.notify_all()
            return entry.future

    # --- the thread

    def _run(self) -> None:
        while self._turn():
            pass

    def _turn(self) -> bool:
        """Let jobs join, then do one step of each model; False once closed and done. While idle
        nothing here refers to an engine, so that one which was unloaded gives its memory back."""
        joining = self._next()
        if not joining and not self._running:
            return False
        self._busy_since = time.monotonic()
        self._join(joining)
        for engine in _engines(self._running):
            self._step(engine)
        self._resolve_done()
        return True

    def _next(self) -> list[_Entry]:
        """Take what joins now out of the queue: a call alone, or jobs for one model; waits if
        there is nothing to do at all. Empty with nothing running: closed."""
        with self._changed:
            while True:
                joining = self._joining()
                wait = self._company_wait(joining)
                if self._running or (joining and wait <= 0):
                    taken = set(map(id, joining))
                    self._waiting = [e for e in self._waiting if id(e) not in taken]
                    return joining
                if self._closed:
                    return []
                self._changed.wait(wait if joining else None)

    def _joining(self) -> list[_Entry]:
        """The most urgent jobs that their model has room for, all of the same model."""
        blocked: list[StepDecoder] = []
        for entry in sorted(self._waiting, key=lambda entry: entry.rank):
            if entry.engine is None:
                return [entry]
            if entry.engine not in blocked:
                if self._may_join(entry, []):
                    return self._with_company(entry)
                blocked.append(entry.engine)  # nobody overtakes it; it might wait for ever
        return []

    def _with_company(self, first: _Entry) -> list[_Entry]:
        assert first.engine is not None
        joining = [first]
        for entry in sorted(self._waiting, key=lambda entry: entry.rank):
            if len(joining) >= first.engine.encode_batch:
                break
            if entry is not first and entry.engine is first.engine:
                if not self._may_join(entry, joining):
                    break
                joining.append(entry)
        return joining

    def _may_join(self, entry: _Entry, joining: list[_Entry]) -> bool:
        """Files leave a few slots of the engine to live jobs; a suspect is decoded alone.

        An encoder that takes one window at a time needs as long for it as several steps: a final of
        ten tokens would wait for ten partials, of whatever model, so they wait for it.
        """
        assert entry.engine is not None
        assert entry.ticket is not None
        others = [e for e in self._running if e.engine is entry.engine] + joining
        if others and (entry.is_suspect or any(other.is_suspect for other in others)):
            return False
        is_slow_to_join = entry.engine.encode_batch == 1
        if is_slow_to_join and not entry.is_final and any(e.is_final for e in self._running):
            return False
        if not entry.is_live and sum(not e.is_live for e in others) >= self._max_batch_size:
            return False
        if not others:
            return True  # where it has no room in an empty batch either, it is refused as it joins
        return entry.engine.has_room(*(e.ticket for e in (*joining, entry) if e.ticket))

    def _company_wait(self, joining: list[_Entry]) -> float:
        """How long these may still wait for others to be encoded with, where that pays."""
        engine = joining[0].engine if joining else None
        if engine is None or len(joining) >= engine.encode_batch:
            return 0.0
        return min(e.arrived for e in joining) + self._batch_wait - time.monotonic()

    def _join(self, joining: list[_Entry]) -> None:
        if joining and joining[0].call is not None:
            self._call(joining[0])
            return
        ready = [entry for entry in joining if _is_wanted(entry)]
        if not ready:
            return
        self._running += ready
        tickets = [entry.ticket for entry in ready if entry.ticket is not None]
        engine = ready[0].engine
        assert engine is not None

        def admit() -> None:
            if accepted := [ticket for ticket in tickets if not engine.refuse(ticket)]:
                engine.admit(accepted)

        began, admitted = time.monotonic(), time.time()
        self._guarded(engine, admit)
        for ticket in tickets:
            ticket.admitted, ticket.encoded = admitted, time.time()
        waits = [began - entry.arrived for entry in ready]
        self._meter.admitted(engine.name, waits, time.monotonic() - began)

    def _step(self, engine: StepDecoder) -> None:
        n_rows, began = engine.n_rows, time.monotonic()
        self._guarded(engine, engine.step)
        self._meter.stepped(engine.name, n_rows, time.monotonic() - began)

    def _call(self, entry: _Entry) -> None:
        assert entry.call is not None
        if not entry.future.set_running_or_notify_cancel():
            return
        try:
            result = entry.call()
        except ServiceError as error:
            entry.future.set_exception(error)
        except Exception:  # the thread must outlive any bug in decoding
            logger.exception("a call on the decoding thread failed")
            entry.future.set_exception(InternalError())
        else:
            self._last_success = time.monotonic()
            if not self._running:
                self._busy_since = None
            entry.future.set_result(result)

    def _guarded(self, engine: StepDecoder, work: Callable[[], None]) -> None:
        """Do a piece of an engine's work. If it crashes, find out which job is to blame by
        decoding each alone; the others are innocent."""
        try:
            work()
        except Exception:  # the thread must outlive any bug in decoding
            entries = [entry for entry in self._running if entry.engine is engine]
            logger.exception("decoding a batch of %d failed", len(entries))
            engine.reset()
            self._running = [entry for entry in self._running if entry.engine is not engine]
            if len(entries) == 1:
                _resolve(entries[0], InternalError())
            else:
                self._decode_again(entries)

    def _decode_again(self, entries: list[_Entry]) -> None:
        for entry in entries:
            entry.is_suspect = True
            assert entry.ticket is not None
            entry.ticket = Ticket(entry.ticket.job)
        with self._changed:
            if not self._closed:
                self._waiting += entries
                return
        for entry in entries:
            _resolve(entry, _closing())

    def _resolve_done(self) -> None:
        """Hand out the answers, and drop those nobody waits for any more."""
        still: list[_Entry] = []
        done: list[tuple[_Entry, Hypothesis | ServiceError]] = []
        for entry in self._running:
            assert entry.ticket is not None
            assert entry.engine is not None
            if entry.ticket.outcome is not None:
                done.append((entry, entry.ticket.outcome))
            elif entry.future.cancelled():
                entry.engine.cancel(entry.ticket)
            else:
                still.append(entry)
        self._running = still
        # What is asked of this object after an answer came must already be true.
        if not still:
            self._busy_since = None
        if any(isinstance(outcome, Hypothesis) for _, outcome in done):
            self._last_success = time.monotonic()
        for entry, outcome in done:
            self._measure(entry, outcome)
            _resolve(entry, outcome)

    def _measure(self, entry: _Entry, outcome: Hypothesis | ServiceError) -> None:
        assert entry.engine is not None
        assert entry.ticket is not None
        if isinstance(outcome, Hypothesis):
            self._meter.answered(entry.engine.name, len(entry.ticket.job.audio) / SAMPLE_RATE)


def _engines(entries: list[_Entry]) -> list[StepDecoder]:
    return list({id(e.engine): e.engine for e in entries if e.engine is not None}.values())


def _is_wanted(entry: _Entry) -> bool:
    """False if it was cancelled or comes too late."""
    if entry.future.cancelled():
        return False
    if not entry.is_late:
        return True
    message = "The window could not be begun before its deadline: too much other work was waiting."
    _resolve(entry, Overloaded(message, retry_after=RETRY_AFTER))
    return False


def _resolve(entry: _Entry, outcome: Hypothesis | ServiceError) -> None:
    """End the future, unless it was cancelled meanwhile. Until now it was not marked as running,
    or it could not have been."""
    if not entry.future.set_running_or_notify_cancel():
        return
    if isinstance(outcome, ServiceError):
        entry.future.set_exception(outcome)
    else:
        entry.future.set_result(outcome)


def _closing() -> Restarting:
    return Restarting("This model server is shutting down.", retry_after=RETRY_AFTER)
