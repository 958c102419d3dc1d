"""The spans of one window in WhisperASR: what it waited, what encoding and decoding it took."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context

from whisper_service.engine.request import Request
from whisper_service.tracing import with_parent
from whisper_service.types import SAMPLE_RATE, DecodeJob

NANO = 1_000_000_000


@contextmanager
def window_span(tracer: Tracer, model: str, job: DecodeJob) -> Iterator[Request]:
    """Around the work on the job's request, whose steps become spans below this one at the end."""
    request = Request(job)
    with tracer.start_as_current_span(
        "decode window",
        context=with_parent(job.trace_parent),
        kind=SpanKind.SERVER,
        attributes={"whisper.model": model, **job_attributes(job)},
    ) as span:
        queued = time.time()
        yield request
        _add_steps(tracer, span, (queued, request.admitted, request.encoded, time.time()))


def job_attributes(job: DecodeJob) -> dict[str, str | float]:
    """What a trace may hold of a job: nothing of its audio or text."""
    attributes: dict[str, str | float] = {
        "whisper.priority": job.priority,
        "whisper.audio_seconds": len(job.audio) / SAMPLE_RATE,
    }
    if job.session_id:
        attributes["whisper.session_id"] = job.session_id
    return attributes


def _add_steps(tracer: Tracer, window: Span, times: Sequence[float | None]) -> None:
    """Seconds since the epoch, noted on the decoding thread. A job whose batch crashed was decoded
    again alone, and has the times of its first try."""
    parent = set_span_in_context(window)
    for name, (begin, end) in zip(("queue", "encode", "decode"), pairwise(times), strict=True):
        if begin is not None and end is not None:
            span = tracer.start_span(name, context=parent, start_time=round(begin * NANO))
            span.end(round(end * NANO))
