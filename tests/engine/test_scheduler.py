"""The scheduler's decisions, at times that the test makes up: no engine, no thread, no clock."""

import numpy as np
import pytest

from whisper_service.engine.request import Request
from whisper_service.engine.scheduler import (
    Admit,
    QueuedCall,
    QueuedRequest,
    Scheduler,
    StepEngine,
    Wait,
)
from whisper_service.errors import Overloaded
from whisper_service.types import DecodeJob, Hypothesis, Priority

FILES = 2
"""Windows of files that may run."""


class Slots:
    """An engine as far as the scheduler looks at it."""

    def __init__(self, n_free: int = FILES + 1, encode_batch: int = 2) -> None:
        self.encode_batch = encode_batch
        self.n_free = n_free

    def has_room(self, *requests: Request) -> bool:
        return len(requests) <= self.n_free


class Queue(Scheduler):
    """A scheduler to which windows are added by their priority."""

    def __init__(self, batch_wait: float = 0.0, max_queued: int = 10) -> None:
        super().__init__(max_batch_size=FILES, batch_wait=batch_wait, max_queued=max_queued)

    def put(
        self,
        engine: Slots,
        priority: Priority = "file",
        *,
        deadline: float | None = None,
        arrived: float = 0.0,
    ) -> QueuedRequest:
        job = DecodeJob(np.zeros(1, np.float32), priority=priority, deadline=deadline)
        queued = QueuedRequest(as_engine(engine), Request(job), arrived)
        self.add(queued)
        return queued

    def admitted(self, now: float = 100.0) -> list[QueuedRequest]:
        decision = self.schedule(now)
        assert isinstance(decision, Admit), decision
        return decision.queued


def as_engine(slots: Slots) -> StepEngine:
    return slots  # type: ignore[return-value]


def end(*done: QueuedRequest) -> None:
    for queued in done:
        queued.request.outcome = Hypothesis("en", 1.0)


def test_with_nothing_to_do_it_waits_until_something_is_added() -> None:
    assert Queue().schedule(0.0) == Wait(None)


def test_a_lone_window_waits_for_others_that_long_and_no_longer() -> None:
    queue, engine = Queue(batch_wait=1.0), Slots()
    first = queue.put(engine, arrived=10.0)
    assert queue.schedule(10.25) == Wait(0.75)
    assert queue.admitted(11.0) == [first]


def test_nothing_is_waited_for_while_others_are_decoded() -> None:
    queue, engine = Queue(batch_wait=1.0), Slots()
    pair = [queue.put(engine), queue.put(engine)]
    assert queue.admitted() == pair
    live = queue.put(engine, "live", arrived=5.0)
    assert queue.admitted(5.0) == [live]
    assert queue.admitted(5.0) == []
    assert queue.running == [*pair, live]


def test_finals_before_partials_before_files_then_by_deadline_then_by_age() -> None:
    queue, engine = Queue(), Slots(n_free=10, encode_batch=10)
    young = queue.put(engine, arrived=2.0)
    old = queue.put(engine, arrived=1.0)
    soon = queue.put(engine, deadline=9.0, arrived=3.0)
    live = queue.put(engine, "live", arrived=4.0)
    final = queue.put(engine, "final", arrived=5.0)
    assert queue.admitted() == [final, live, soon, old]
    end(soon)
    assert queue.take_done() == [soon]
    assert queue.admitted() == [young]


def test_files_leave_a_slot_to_live_windows() -> None:
    queue, engine = Queue(), Slots()
    files = [queue.put(engine) for _ in range(3)]
    assert queue.admitted() == files[:2]
    live = queue.put(engine, "live")
    assert queue.admitted() == [live]
    assert queue.admitted() == []
    end(files[0])
    queue.take_done()
    assert queue.admitted() == [files[2]]


def test_nobody_overtakes_a_window_for_which_there_is_no_room_yet() -> None:
    queue, engine = Queue(), Slots(n_free=1, encode_batch=1)
    running = queue.put(engine, "live")
    assert queue.admitted() == [running]
    engine.n_free = 0
    wide, other = queue.put(engine, "live"), queue.put(engine)
    assert queue.admitted() == []
    end(running)
    queue.take_done()
    engine.n_free = 1
    assert queue.admitted() == [wide]
    end(wide)
    queue.take_done()
    assert queue.admitted() == [other]


def test_an_empty_batch_takes_what_never_has_room_so_that_it_can_be_refused() -> None:
    queue, engine = Queue(), Slots(n_free=0)
    too_wide = queue.put(engine)
    assert queue.admitted() == [too_wide]


def test_where_joining_is_slow_a_final_is_let_alone_by_windows_of_any_model() -> None:
    queue, engine, other = Queue(), Slots(encode_batch=1), Slots(encode_batch=1)
    final = queue.put(engine, "final")
    assert queue.admitted() == [final]
    partial, file = queue.put(engine, "live"), queue.put(other)
    assert queue.admitted() == []
    second = queue.put(engine, "final")
    assert queue.admitted() == [second]
    end(final, second)
    queue.take_done()
    assert queue.admitted() == [partial]
    assert queue.admitted() == [file]


def test_windows_of_two_models_do_not_join_together() -> None:
    queue, engine, other = Queue(), Slots(), Slots()
    mine, its, mine_too = queue.put(engine), queue.put(other), queue.put(engine)
    assert queue.admitted() == [mine, mine_too]
    assert queue.admitted() == [its]


def test_a_call_comes_with_the_live_windows_and_alone() -> None:
    queue = Queue()
    file, final = queue.put(Slots()), queue.put(Slots(), "final")
    call = QueuedCall(lambda: None, arrived=1.0)
    queue.add(call)
    assert queue.admitted() == [final]
    assert queue.schedule(0.0) is call
    assert queue.admitted() == [file]


def test_requests_of_a_batch_that_crashed_are_decoded_one_by_one() -> None:
    queue, engine = Queue(), Slots()
    pair = [queue.put(engine, arrived=1.0), queue.put(engine, arrived=2.0)]
    queue.admitted()
    later = queue.put(engine, arrived=3.0)
    tried = [queued.request for queued in pair]
    crashed = queue.take_running(as_engine(engine))
    assert crashed == pair
    queue.retry_alone(crashed)
    assert all(queued.request not in tried for queued in pair)
    for alone in (*pair, later):
        assert queue.admitted() == [alone]
        assert queue.admitted() == []
        end(alone)
        queue.take_done()


def test_a_full_queue_refuses_and_has_room_for_one_more_when_one_is_cancelled() -> None:
    queue, engine = Queue(max_queued=2), Slots()
    first, second = queue.put(engine), queue.put(engine)
    with pytest.raises(Overloaded):
        queue.put(engine)
    first.future.cancel()
    third = queue.put(engine)
    assert queue.take_waiting() == [second, third]
    assert queue.schedule(0.0) == Wait(None)


def test_what_is_cancelled_while_it_is_decoded_is_done() -> None:
    queue, engine = Queue(), Slots()
    pair = [queue.put(engine), queue.put(engine)]
    queue.admitted()
    pair[0].future.cancel()
    assert queue.take_done() == pair[:1]
    assert queue.running == pair[1:]
