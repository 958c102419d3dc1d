"""A window's spans, from the ingress through the handle into the worker."""

from itertools import pairwise

import numpy as np
import pytest

from tests.serving.test_asr import FakeEngine
from tests.serving.test_remote_decoder import ANSWER, Handle
from tests.spans import Spans
from whisper_service.engine.worker import DecodeWorker
from whisper_service.errors import Overloaded
from whisper_service.serving.remote_decoder import RemoteDecoder
from whisper_service.serving.window_spans import window_span
from whisper_service.settings import Settings
from whisper_service.types import DecodeJob

JOB = DecodeJob(np.zeros(8000, np.float32), priority="live")


@pytest.fixture
def spans() -> Spans:
    return Spans()


async def test_a_job_carries_the_span_it_is_sent_in(spans: Spans) -> None:
    handle = Handle(ANSWER)
    decoder = RemoteDecoder(handle, Settings(), spans.tracer)  # type: ignore[arg-type]
    with spans.tracer.start_as_current_span("request"):
        await decoder.decode("base", JOB)
    request, sent = spans.one("request"), spans.one("WhisperASR.decode")
    assert request.context is not None
    assert sent.context is not None
    assert sent.parent is not None
    assert sent.parent.span_id == request.context.span_id
    ((_, (_, job)),) = handle.calls
    ids = f"{sent.context.trace_id:032x}-{sent.context.span_id:016x}"
    assert job.trace_parent.startswith(f"00-{ids}-")


async def test_without_traces_a_job_carries_nothing() -> None:
    handle = Handle(ANSWER)
    await RemoteDecoder(handle, Settings()).decode("base", JOB)  # type: ignore[arg-type]
    ((_, (_, job)),) = handle.calls
    assert job.trace_parent == ""


def test_queue_encode_and_decode_follow_one_another_below_their_window(spans: Spans) -> None:
    worker = DecodeWorker()
    try:
        with window_span(spans.tracer, "mine", JOB) as request:
            worker.submit(FakeEngine("mine"), request).result(10)  # type: ignore[arg-type]
    finally:
        worker.close(10)
    window = spans.one("decode window")
    assert window.attributes is not None
    assert window.context is not None
    assert window.attributes["whisper.audio_seconds"] == 0.5
    steps = [spans.one(name) for name in ("queue", "encode", "decode")]
    assert all(step.parent and step.parent.span_id == window.context.span_id for step in steps)
    for before, after in pairwise(steps):
        assert before.end_time == after.start_time
    assert all(step.start_time <= step.end_time for step in steps)  # type: ignore[operator]


def test_a_window_that_was_refused_is_an_error_without_steps(spans: Spans) -> None:
    with pytest.raises(Overloaded), window_span(spans.tracer, "mine", JOB):
        raise Overloaded("full", retry_after=1)
    (window,) = spans.ended
    assert (window.name, window.status.is_ok) == ("decode window", False)
