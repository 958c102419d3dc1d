"""The one thread that has the device: schedule, prefill, decode, finish, over and over.

Owns the thread, the lock and the futures, and survives every crash of decoding: each request of a
batch that crashed is decoded again alone. Which request comes next is the scheduler's to decide.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from whisper_service.engine.meter import Meter, NoMeter
from whisper_service.engine.request import Request
from whisper_service.engine.scheduler import (
    Admit,
    QueuedCall,
    QueuedRequest,
    Scheduler,
    StepEngine,
    Wait,
)
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


class DecodeWorker:
    """Decodes jobs as they come. `submit` from any thread; `close` when done."""

    def __init__(
        self,
        *,
        max_batch_size: int = 8,
        batch_wait: float = 0.01,
        max_queued: int = 1024,
        meter: Meter | None = None,
    ) -> None:
        self._scheduler = Scheduler(
            max_batch_size=max_batch_size, batch_wait=batch_wait, max_queued=max_queued
        )
        self._meter = meter or NoMeter()
        self._changed = threading.Condition()
        """Held by who looks at what waits; what runs is the thread's alone."""
        self._closed = False
        self._busy_since: float | None = None
        self._last_success: float | None = None
        self._thread = threading.Thread(target=self._run, name="whisper-decode", daemon=True)
        self._thread.start()

    # --- any thread

    def submit(self, engine: StepEngine, job: DecodeJob | Request) -> "Future[Hypothesis]":
        """Queue a job. Its future ends with a hypothesis or an error of the tree. Who brings its
        request can look at its times afterwards.

        Cancelling the future drops the job, also while it is being decoded. Raises `Overloaded`
        if the queue is full, `Restarting` after `close`.
        """
        request = job if isinstance(job, Request) else Request(job)
        return self._enqueue(lambda now: QueuedRequest(engine, request, now))

    def call(self, function: Callable[[], T]) -> "Future[T]":
        """Run `function` on the device's thread, between two steps. Raises as `submit`."""
        return self._enqueue(lambda now: QueuedCall(function, now))

    @property
    def busy_since(self) -> float | None:
        """When the current step began, by `time.monotonic`; None while idle."""
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
            left = self._scheduler.take_waiting()
            self._changed.notify_all()
        _resolve_all(left, _closing())
        self._thread.join(timeout)

    def _enqueue(self, make: Callable[[float], QueuedRequest | QueuedCall]) -> Future[Any]:
        with self._changed:
            if self._closed:
                raise _closing()
            queued = make(time.monotonic())
            self._scheduler.add(queued)
            self._changed.notify_all()
            return queued.future

    # --- the thread

    def _run(self) -> None:
        while self._step():
            pass

    def _step(self) -> bool:
        """Do one step of each model; False once closed and done. While idle nothing here refers to
        an engine, so that one which was unloaded gives its memory back."""
        decision = self._schedule()
        if decision is None:
            return False
        self._busy_since = time.monotonic()
        if isinstance(decision, QueuedCall):
            self._call(decision)
        else:
            self._prefill(decision.queued)
        self._decode()
        self._finish()
        return True

    def _schedule(self) -> Admit | QueuedCall | None:
        """Wait for something to do; None: closed, and nothing is running."""
        with self._changed:
            while isinstance(decision := self._scheduler.schedule(time.monotonic()), Wait):
                if self._closed:
                    return None
                self._changed.wait(decision.seconds)
            return decision

    def _call(self, queued: QueuedCall) -> None:
        if not queued.future.set_running_or_notify_cancel():
            return
        try:
            result = queued.function()
        except ServiceError as error:
            queued.future.set_exception(error)
        except Exception:  # the thread must outlive any bug in decoding
            logger.exception("a call on the decoding thread failed")
            queued.future.set_exception(InternalError())
        else:
            self._note_end(True)
            queued.future.set_result(result)

    def _prefill(self, joining: Sequence[QueuedRequest]) -> None:
        began, admitted = time.monotonic(), time.time()
        ready = [queued for queued in joining if self._is_wanted(queued, admitted)]
        if not ready:
            return
        engine, requests = ready[0].engine, [queued.request for queued in ready]

        def admit() -> None:
            if accepted := [request for request in requests if not engine.refuse(request)]:
                engine.admit(accepted)

        self._guarded(engine, admit)
        for request in requests:
            request.admitted, request.encoded = admitted, time.time()
        waits = [began - queued.arrived for queued in ready]
        self._meter.admitted(engine.name, waits, time.monotonic() - began)

    def _is_wanted(self, queued: QueuedRequest, now: float) -> bool:
        """Whether it is neither cancelled nor too late; else it is dropped. `now` by the epoch."""
        deadline = queued.request.job.deadline
        is_late = deadline is not None and now > deadline
        if not is_late and not queued.future.cancelled():
            return True
        self._scheduler.running.remove(queued)
        message = (
            "The window could not be begun before its deadline: too much other work was waiting."
        )
        _resolve(queued, Overloaded(message, retry_after=RETRY_AFTER))
        return False

    def _decode(self) -> None:
        """One token for every row of every engine."""
        for engine in {id(q.engine): q.engine for q in self._scheduler.running}.values():
            n_rows, began = engine.n_rows, time.monotonic()
            self._guarded(engine, engine.step)
            self._meter.stepped(engine.name, n_rows, time.monotonic() - began)

    def _guarded(self, engine: StepEngine, work: Callable[[], None]) -> None:
        """Do a piece of an engine's work. If it crashes, find out which request is to blame by
        decoding each alone; the others are innocent."""
        try:
            work()
        except Exception:  # the thread must outlive any bug in decoding
            crashed = self._scheduler.take_running(engine)
            logger.exception("decoding a batch of %d failed", len(crashed))
            engine.reset()
            if len(crashed) == 1:
                _resolve(crashed[0], InternalError())
                return
            with self._changed:
                if not self._closed:
                    self._scheduler.retry_alone(crashed)
                    return
            _resolve_all(crashed, _closing())

    def _finish(self) -> None:
        """Hand out the answers, and drop what nobody waits for any more."""
        done = self._scheduler.take_done()
        # What is asked of this object after an answer came must already be true.
        self._note_end(any(isinstance(queued.request.outcome, Hypothesis) for queued in done))
        for queued in done:
            outcome = queued.request.outcome
            if outcome is None:
                queued.engine.cancel(queued.request)
                continue
            if isinstance(outcome, Hypothesis):
                seconds = len(queued.request.job.audio) / SAMPLE_RATE
                self._meter.answered(queued.engine.name, seconds)
            _resolve(queued, outcome)

    def _note_end(self, has_succeeded: bool) -> None:
        if has_succeeded:
            self._last_success = time.monotonic()
        if not self._scheduler.running:
            self._busy_since = None


def _resolve_all(
    all_queued: Sequence[QueuedRequest | QueuedCall], outcome: Hypothesis | ServiceError
) -> None:
    for queued in all_queued:
        _resolve(queued, outcome)


def _resolve(queued: QueuedRequest | QueuedCall, outcome: Hypothesis | ServiceError) -> None:
    """End the future, unless it was cancelled meanwhile. Until now it was not marked as running,
    or it could not have been."""
    if not queued.future.set_running_or_notify_cancel():
        return
    if isinstance(outcome, ServiceError):
        queued.future.set_exception(outcome)
    else:
        queued.future.set_result(outcome)


def _closing() -> Restarting:
    return Restarting("This model server is shutting down.", retry_after=RETRY_AFTER)
