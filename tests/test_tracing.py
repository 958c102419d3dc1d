"""Whether spans are made, and where they go."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NoOpTracer, get_current_span

from tests.test_main import python
from whisper_service.settings import Settings
from whisper_service.tracing import (
    TracingError,
    check_tracing,
    current_parent,
    make_tracer,
    with_parent,
)

ON = Settings(tracing=True)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRACES_EXPORTER", "EXPORTER_OTLP_PROTOCOL", "EXPORTER_OTLP_TRACES_PROTOCOL"):
        monkeypatch.delenv(f"OTEL_{name}", raising=False)


def test_no_span_is_made_unless_asked_for() -> None:
    assert isinstance(make_tracer(Settings()), NoOpTracer)
    assert current_parent() == ""


def test_the_variables_of_opentelemetry_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    span = make_tracer(ON).start_span("a")
    assert span.resource.attributes["service.name"] == "whisper-streaming"  # type: ignore[attr-defined]
    assert span.is_recording()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    assert not make_tracer(ON).start_span("a").is_recording()
    monkeypatch.delenv("OTEL_TRACES_SAMPLER")
    span = make_tracer(ON).start_span("a")
    assert span.resource.attributes["service.name"] == "mine"  # type: ignore[attr-defined]


def test_an_exporter_that_is_not_there_is_told_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier/pigeon")
    check_tracing(Settings())
    with pytest.raises(TracingError, match=r"carrier/pigeon.*console.*requirements-tracing"):
        check_tracing(ON)
    done = python("-m", "main", WHISPER_TRACING="on", OTEL_TRACES_EXPORTER="zipkin")
    assert done.returncode == 1
    assert done.stderr.startswith("error: WHISPER_TRACING is on, and the exporter 'zipkin'")


def test_a_parent_travels_as_text() -> None:
    with TracerProvider().get_tracer("").start_as_current_span("a") as span:
        there = get_current_span(with_parent(current_parent())).get_span_context()
    assert there.span_id == span.get_span_context().span_id
    assert there.is_remote
    assert get_current_span(with_parent("")).get_span_context() == INVALID_SPAN_CONTEXT
