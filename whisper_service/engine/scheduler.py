"""What joins the batch next: a queue and its rules, without thread, lock or clock.

Finals of streams come first, then their partials; then those whose deadline is nearest, then the
oldest. Requests join and leave a model's batch between two steps, so that a short one never waits
for a long one. Where joining takes the device for longer than a step, nobody joins between the
steps of a final. Refuses to know what decoding is: `Engine` does it, `DecodeWorker` runs it.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from whisper_service.engine.request import Request
from whisper_service.errors import RETRY_AFTER, Overloaded

_URGENCY = {"final": 0, "live": 1, "file": 2}


class StepEngine(Protocol):
    """A model that decodes step by step. The scheduler asks for its room, the worker the rest."""

    @property
    def name(self) -> str:
        """The model's."""

    @property
    def n_rows(self) -> int:
        """Rows the next step decodes a token for."""

    @property
    def encode_batch(self) -> int:
        """Requests that are best admitted together; between two admissions the others step."""

    def refuse(self, request: Request) -> bool:
        """Answer a request that cannot be decoded with its error."""

    def has_room(self, *requests: Request) -> bool:
        """Whether the requests could be admitted now."""

    def admit(self, requests: Sequence[Request]) -> None:
        """Begin to decode."""

    def step(self) -> None:
        """Decode one token for every row; requests that are done have their outcome then."""

    def cancel(self, request: Request) -> None:
        """Drop a request."""

    def reset(self) -> None:
        """Drop all requests."""


@dataclass(slots=True, eq=False)
class QueuedRequest:
    """A request that waits for its engine, or is being decoded."""

    engine: StepEngine
    request: Request
    arrived: float = 0.0
    """By the clock that `Scheduler.schedule` is told the time of."""
    future: Future[Any] = field(default_factory=Future)
    is_suspect: bool = False
    """It was in a batch that crashed, so it is decoded alone."""

    @property
    def is_file(self) -> bool:
        return self.request.job.priority == "file"

    @property
    def is_final(self) -> bool:
        """Whether a stream's final waits for it."""
        return self.request.job.priority == "final"

    @property
    def rank(self) -> tuple[int, float, float]:
        """Sorts by urgency."""
        job = self.request.job
        deadline = math.inf if job.deadline is None else job.deadline
        return (_URGENCY[job.priority], deadline, self.arrived)


@dataclass(slots=True, eq=False)
class QueuedCall:
    """A function that waits for the device. It counts as live: calls are short."""

    function: Callable[[], Any]
    arrived: float
    future: Future[Any] = field(default_factory=Future)

    @property
    def rank(self) -> tuple[int, float, float]:
        """Sorts by urgency."""
        return (_URGENCY["live"], math.inf, self.arrived)


@dataclass(frozen=True, slots=True)
class Admit:
    """Prefill these, which are for one engine, and go on with what is running; may be none."""

    queued: list[QueuedRequest]


@dataclass(frozen=True, slots=True)
class Wait:
    """There is nothing to do for so many seconds, or, None, until something is added."""

    seconds: float | None


class Scheduler:
    """The requests that wait and those that run, of all engines that share a device."""

    def __init__(self, *, max_batch_size: int, batch_wait: float, max_queued: int) -> None:
        self.waiting: list[QueuedRequest | QueuedCall] = []
        self.running: list[QueuedRequest] = []
        self._max_batch_size = max_batch_size
        self._batch_wait = batch_wait
        self._max_queued = max_queued

    def add(self, queued: QueuedRequest | QueuedCall) -> None:
        """Let it wait. Raises `Overloaded` if the queue is full."""
        self.waiting = [other for other in self.waiting if not other.future.cancelled()]
        if len(self.waiting) >= self._max_queued:
            raise Overloaded(
                f"{len(self.waiting)} windows already wait for this model server, the most"
                " it takes; try again.",
                retry_after=RETRY_AFTER,
            )
        self.waiting.append(queued)

    def schedule(self, now: float) -> Admit | QueuedCall | Wait:
        """Decide what is done next. What is admitted is running from now on."""
        joining = self._joining()
        if isinstance(joining, QueuedCall):
            self.waiting.remove(joining)
            return joining
        if not self.running:
            if not joining:
                return Wait(None)
            if (seconds := self._wait_for_more(joining, now)) > 0:
                return Wait(seconds)
        self.waiting = [queued for queued in self.waiting if queued not in joining]
        self.running += joining
        return Admit(joining)

    def take_done(self) -> list[QueuedRequest]:
        """Take out of the running what has its outcome, or whose future was cancelled."""
        done = [q for q in self.running if q.request.outcome is not None or q.future.cancelled()]
        self.running = [queued for queued in self.running if queued not in done]
        return done

    def take_running(self, engine: StepEngine) -> list[QueuedRequest]:
        """Take all that an engine is decoding out of the running."""
        taken = [queued for queued in self.running if queued.engine is engine]
        self.running = [queued for queued in self.running if queued.engine is not engine]
        return taken

    def take_waiting(self) -> list[QueuedRequest | QueuedCall]:
        """Empty the queue."""
        waiting, self.waiting = self.waiting, []
        return waiting

    def retry_alone(self, crashed: Sequence[QueuedRequest]) -> None:
        """Put the requests of a batch that crashed back in the queue, each to be decoded alone."""
        for queued in crashed:
            queued.is_suspect = True
            queued.request = Request(queued.request.job)
        self.waiting += crashed

    def _joining(self) -> list[QueuedRequest] | QueuedCall:
        """The most urgent that their engine has room for, all of the same engine; or a call."""
        blocked: list[StepEngine] = []
        in_order = sorted(self.waiting, key=lambda queued: queued.rank)
        for queued in in_order:
            if isinstance(queued, QueuedCall):
                return queued
            if queued.engine not in blocked:
                if self._may_join(queued, []):
                    return self._with_others(queued, in_order)
                blocked.append(queued.engine)  # nobody overtakes it; it might wait for ever
        return []

    def _with_others(
        self, first: QueuedRequest, in_order: Sequence[QueuedRequest | QueuedCall]
    ) -> list[QueuedRequest]:
        joining = [first]
        for queued in in_order:
            if len(joining) >= first.engine.encode_batch:
                break
            if isinstance(queued, QueuedCall) or queued is first:
                continue
            if queued.engine is first.engine:
                if not self._may_join(queued, joining):
                    break
                joining.append(queued)
        return joining

    def _may_join(self, queued: QueuedRequest, joining: list[QueuedRequest]) -> bool:
        """Files leave a few slots of the engine to live jobs; a suspect is decoded alone.

        An encoder that takes one window at a time needs as long for it as several steps: a final of
        ten tokens would wait for ten partials, of whatever model, so they wait for it.
        """
        engine = queued.engine
        others = [other for other in self.running if other.engine is engine] + joining
        if others and (queued.is_suspect or any(other.is_suspect for other in others)):
            return False
        is_slow_to_join = engine.encode_batch == 1
        if is_slow_to_join and not queued.is_final and any(q.is_final for q in self.running):
            return False
        if queued.is_file and sum(other.is_file for other in others) >= self._max_batch_size:
            return False
        if not others:
            return True  # where it has no room in an empty batch either, it is refused as it joins
        return engine.has_room(*(other.request for other in (*joining, queued)))

    def _wait_for_more(self, joining: Sequence[QueuedRequest], now: float) -> float:
        """Seconds for which these may still wait for others to be encoded with them."""
        if len(joining) >= joining[0].engine.encode_batch:
            return 0.0
        return min(queued.arrived for queued in joining) + self._batch_wait - now
