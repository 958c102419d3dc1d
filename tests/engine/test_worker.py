"""The worker over an engine that is held at a gate, so that the queue's order can be seen."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future

import numpy as np
import pytest

from whisper_service.engine.request import Request
from whisper_service.engine.worker import DecodeWorker
from whisper_service.errors import InternalError, InvalidAudio, Overloaded, Restarting
from whisper_service.types import DecodeJob, DecodeOptions, Hypothesis, Priority

WAIT = 10.0


class GatedEngine:
    """Answers each job with its prompt as language in the first step after it was admitted, once
    the gate is open; "long" goes on until it may end, "bad" is refused, "bug" crashes the step."""

    def __init__(self, n_places: int = 4, encode_batch: int = 3) -> None:
        self.gate = threading.Event()
        self.may_end = threading.Event()
        self.entered = threading.Event()
        self.encode_batch = encode_batch
        self.n_places = n_places
        self.batches: list[list[str]] = []
        self.steps: list[list[str]] = []
        self.running: list[Request] = []
        self.name = "gated"

    @property
    def n_rows(self) -> int:
        return len(self.running)

    def refuse(self, request: Request) -> bool:
        if name(request.job) == "bad":
            request.outcome = InvalidAudio("bad")
        return request.outcome is not None

    def has_room(self, *requests: Request) -> bool:
        return len(self.running) + len(requests) <= self.n_places

    def admit(self, requests: Sequence[Request]) -> None:
        self.batches.append([name(request.job) for request in requests])
        self.running += requests

    def step(self) -> None:
        self.steps.append([name(request.job) for request in self.running])
        self.entered.set()
        assert self.gate.wait(WAIT)
        if "bug" in self.steps[-1]:
            raise ZeroDivisionError
        for request in list(self.running):
            if name(request.job) != "long" or self.may_end.is_set():
                request.outcome = Hypothesis(name(request.job), 1.0)
                self.running.remove(request)

    def cancel(self, request: Request) -> None:
        self.running.remove(request)

    def reset(self) -> None:
        self.running.clear()


def name(job: DecodeJob) -> str:
    return job.options.prompt or ""


def job(
    name: str,
    *,
    priority: Priority = "file",
    deadline: float | None = None,
) -> DecodeJob:
    options = DecodeOptions(prompt=name)
    return DecodeJob(np.zeros(1, np.float32), options, priority=priority, deadline=deadline)


@pytest.fixture
def engine() -> Iterator[GatedEngine]:
    engine = GatedEngine()
    yield engine
    engine.gate.set()
    engine.may_end.set()


@pytest.fixture
def worker(engine: GatedEngine) -> Iterator[DecodeWorker]:
    worker = DecodeWorker(max_batch_size=3, batch_wait=0.0, max_queued=10)
    yield worker
    engine.gate.set()
    engine.may_end.set()
    worker.close(WAIT)
    assert not worker.is_alive


def hold(worker: DecodeWorker, engine: GatedEngine) -> "Future[Hypothesis]":
    """Fill the thread with a job that stands at the gate, so that the next ones queue up."""
    first = worker.submit(engine, job("first"))
    assert engine.entered.wait(WAIT)
    return first


def release(engine: GatedEngine, *futures: "Future[Hypothesis]") -> list[str]:
    engine.gate.set()
    return [future.result(WAIT).language for future in futures]


def test_finals_come_first_then_partials_then_the_nearest_deadline_then_the_oldest(
    worker: DecodeWorker, engine: GatedEngine
) -> None:
    hold(worker, engine)
    now = time.time()
    futures = [
        worker.submit(engine, job(text, priority=priority, deadline=deadline))
        for text, priority, deadline in [
            ("old", "file", None),
            ("new", "file", None),
            ("soon", "file", now + 50),
            ("sooner", "file", now + 40),
            ("live", "live", now + 80),
            ("final", "final", now + 90),
        ]
    ]
    release(engine, *futures)
    assert engine.batches[1:] == [["final", "live", "sooner"], ["soon", "old", "new"]]


def test_jobs_join_while_others_are_decoded_and_short_ones_leave_first(
    worker: DecodeWorker, engine: GatedEngine
) -> None:
    long = worker.submit(engine, job("long"))
    assert engine.entered.wait(WAIT)
    short = worker.submit(engine, job("short"))
    assert release(engine, short) == ["short"]
    assert not long.done()
    engine.may_end.set()
    assert release(engine, long) == ["long"]
    assert engine.steps[1] == ["long", "short"]


def test_files_leave_a_place_to_live_jobs(worker: DecodeWorker, engine: GatedEngine) -> None:
    hold(worker, engine)
    files = [worker.submit(engine, job("long")) for _ in range(4)]
    live = worker.submit(engine, job("live", priority="live"))
    assert release(engine, live) == ["live"]
    assert not any(future.done() for future in files)
    assert max(step.count("long") for step in engine.steps) == 3


def test_a_file_is_decoded_beside_finals_that_keep_coming(
    worker: DecodeWorker, engine: GatedEngine
) -> None:
    engine.gate.set()
    has_ended = threading.Event()

    def next_final(_: object = None) -> None:
        if not has_ended.is_set():
            final = worker.submit(engine, job("final", priority="final"))
            final.add_done_callback(next_final)

    next_final()
    try:
        assert worker.submit(engine, job("file")).result(WAIT).language == "file"
    finally:
        has_ended.set()


def test_nobody_joins_between_the_steps_of_a_final_where_joining_takes_long(
    worker: DecodeWorker, engine: GatedEngine
) -> None:
    engine.encode_batch = 1
    hold(worker, engine)
    final = worker.submit(engine, job("long", priority="final"))
    partial = worker.submit(engine, job("partial", priority="live"))
    other = worker.submit(engine, job("other", priority="final"))
    assert release(engine, other) == ["other"]
    assert engine.batches[1:] == [["long"], ["other"]]
    engine.may_end.set()
    assert release(engine, final, partial) == ["long", "partial"]


def test_a_window_of_another_model_does_not_join_between_the_steps_of_a_final(
    worker: DecodeWorker, engine: GatedEngine
) -> None:
    other = GatedEngine(encode_batch=1)
    other.gate.set()
    final = worker.submit(engine, job("long", priority="final"))
    assert engine.entered.wait(WAIT)
    file, later = worker.submit(other, job("file")), worker.submit(engine, job("later"))
    assert release(engine, later) == ["later"]
    assert other.batches == []
    engine.may_end.set()
    assert release(engine, final, file) == ["long", "file"]


def test_jobs_of_two_models_do_not_share_a_batch(worker: DecodeWorker, engine: GatedEngine) -> None:
    other = GatedEngine()
    other.gate.set()
    hold(worker, engine)
    mine, its = worker.submit(engine, job("mine")), worker.submit(other, job("its"))
    release(engine, mine, its)
    assert other.batches == [["its"]]


def test_a_batch_waits_for_company_but_not_when_it_is_full(engine: GatedEngine) -> None:
    engine.gate.set()
    engine.encode_batch = 2
    worker = DecodeWorker(max_batch_size=2, batch_wait=WAIT)
    futures = [worker.submit(engine, job(n)) for n in ("a", "b")]
    assert release(engine, *futures) == ["a", "b"]
    assert engine.batches == [["a", "b"]]
    worker.close(WAIT)


def test_one_bad_job_fails_alone(worker: DecodeWorker, engine: GatedEngine) -> None:
    hold(worker, engine)
    good, bad = worker.submit(engine, job("good")), worker.submit(engine, job("bad"))
    assert release(engine, good) == ["good"]
    assert isinstance(bad.exception(WAIT), InvalidAudio)


def test_a_job_for_which_there_is_never_room_is_refused_and_holds_nobody_up(
    worker: DecodeWorker, engine: GatedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_room = engine.has_room
    monkeypatch.setattr(
        engine,
        "has_room",
        lambda *requests: has_room(*requests) and all(name(t.job) != "bad" for t in requests),
    )
    engine.gate.set()
    with pytest.raises(InvalidAudio):
        worker.submit(engine, job("bad")).result(WAIT)
    assert release(engine, worker.submit(engine, job("next"))) == ["next"]


def test_a_crash_is_the_fault_of_one_job_and_the_thread_goes_on(
    worker: DecodeWorker, engine: GatedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    hold(worker, engine)
    good, bug = worker.submit(engine, job("good")), worker.submit(engine, job("bug"))
    assert release(engine, good) == ["good"]
    assert isinstance(bug.exception(WAIT), InternalError)
    assert "ZeroDivisionError" in caplog.text
    assert release(engine, worker.submit(engine, job("next"))) == ["next"]


def test_cancelled_job_is_never_decoded(worker: DecodeWorker, engine: GatedEngine) -> None:
    hold(worker, engine)
    cancelled, kept = worker.submit(engine, job("x")), worker.submit(engine, job("kept"))
    assert cancelled.cancel()
    assert release(engine, kept) == ["kept"]
    assert engine.batches == [["first"], ["kept"]]
    with pytest.raises(CancelledError):
        cancelled.result(WAIT)


def test_job_cancelled_while_it_is_decoded_gives_its_place_back_within_a_step(
    worker: DecodeWorker, engine: GatedEngine
) -> None:
    long = worker.submit(engine, job("long"))
    assert engine.entered.wait(WAIT)
    assert long.cancel()
    assert release(engine, worker.submit(engine, job("next"))) == ["next"]
    assert engine.steps == [["long"], ["next"]]


def test_job_past_its_deadline_is_refused_instead_of_decoded(
    worker: DecodeWorker, engine: GatedEngine
) -> None:
    late = worker.submit(engine, job("late", deadline=time.time() - 1))
    refusal = late.exception(WAIT)
    assert isinstance(refusal, Overloaded)
    assert refusal.retry_after
    assert engine.batches == []


def test_full_queue_refuses_and_cancelled_jobs_make_room(
    worker: DecodeWorker, engine: GatedEngine
) -> None:
    hold(worker, engine)
    waiting = [worker.submit(engine, job(str(n))) for n in range(10)]
    with pytest.raises(Overloaded):
        worker.submit(engine, job("too many"))
    waiting[3].cancel()
    assert release(engine, worker.submit(engine, job("fits"))) == ["fits"]


def test_call_runs_between_batches_before_files(worker: DecodeWorker, engine: GatedEngine) -> None:
    hold(worker, engine)
    after = worker.submit(engine, job("after"))
    batches_before_call = worker.call(lambda: len(engine.batches))
    release(engine, after)
    assert batches_before_call.result(WAIT) == 1


def test_error_of_a_call_reaches_its_caller(worker: DecodeWorker) -> None:
    def fail() -> None:
        raise InvalidAudio("no")

    assert isinstance(worker.call(fail).exception(WAIT), InvalidAudio)
    assert isinstance(worker.call(lambda: 1 / 0).exception(WAIT), InternalError)


def test_close_lets_the_batch_in_hand_end_and_fails_the_rest(engine: GatedEngine) -> None:
    worker = DecodeWorker(max_batch_size=1, batch_wait=0.0)
    first = hold(worker, engine)
    waiting = worker.submit(engine, job("waiting"))
    worker.close(0)
    assert isinstance(waiting.exception(WAIT), Restarting)
    assert release(engine, first) == ["first"]
    worker.close(WAIT)
    assert not worker.is_alive
    with pytest.raises(Restarting):
        worker.submit(engine, job("after"))


def test_it_knows_whether_it_is_at_work_and_when_it_last_succeeded(
    worker: DecodeWorker, engine: GatedEngine
) -> None:
    assert worker.busy_since is None
    assert worker.last_success is None
    first = hold(worker, engine)
    assert worker.busy_since is not None
    release(engine, first)
    worker.call(lambda: None).result(WAIT)
    assert worker.last_success is not None


def test_a_meter_hears_of_waiting_of_steps_and_of_answers(engine: GatedEngine) -> None:
    class Heard:
        def __init__(self) -> None:
            self.n_waited = 0
            self.n_rows: list[int] = []
            self.audio: list[float] = []

        def admitted(self, model: str, waits: list[float], seconds: float) -> None:
            assert model == "gated"
            assert all(wait >= 0 for wait in (*waits, seconds))
            self.n_waited += len(waits)

        def stepped(self, model: str, n_rows: int, seconds: float) -> None:
            self.n_rows.append(n_rows)

        def answered(self, model: str, audio_seconds: float) -> None:
            self.audio.append(audio_seconds)

    heard = Heard()
    worker = DecodeWorker(max_batch_size=3, batch_wait=0.0, meter=heard)
    first = hold(worker, engine)
    more = [worker.submit(engine, job(text)) for text in ("a", "b")]
    refused = worker.submit(engine, job("bad"))
    release(engine, first, *more)
    assert isinstance(refused.exception(WAIT), InvalidAudio)
    worker.close(WAIT)
    assert heard.n_waited == 4
    assert sum(heard.n_rows) >= 3
    assert heard.audio == [1 / 16_000] * 3
