"""Spans of what is done, for OpenTelemetry; none unless the settings ask for them.

Owns a tracer of its own, not the process's global one, which Ray Serve's tracing sets for itself.
Where spans go and which are kept is read by OpenTelemetry from its own OTEL_ variables. No span
holds a word of what was said.
"""

import os
from importlib.metadata import EntryPoint, entry_points

from opentelemetry.context import Context
from opentelemetry.trace import NoOpTracer, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from whisper_service.settings import Settings

SERVICE_NAME = "whisper-streaming"
"""Unless OTEL_SERVICE_NAME is set."""
_GROUP = "opentelemetry_traces_exporter"
_PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_HEADER = "traceparent"


class TracingError(Exception):
    """Spans are asked for, and cannot be sent as the variables say."""


def make_tracer(settings: Settings) -> Tracer:
    """The tracer of this process; to be made once. Raises `TracingError`."""
    if not settings.tracing:
        return NoOpTracer()
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    ours = Resource.create({"service.name": SERVICE_NAME})
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()))
    if (found := _exporter()) is not None:
        provider.add_span_processor(BatchSpanProcessor(found.load()()))
    return provider.get_tracer("whisper_service")


def check_tracing(settings: Settings) -> None:
    """Raise `TracingError` where spans are asked for and their exporter is not installed."""
    if settings.tracing:
        _exporter()


def _exporter() -> EntryPoint | None:
    """What OTEL_TRACES_EXPORTER names; None for `none`."""
    name = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if name == "none":
        return None
    if name == "otlp":
        protocol = (
            os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
            or "http/protobuf"
        )
        name = _PROTOCOLS.get(protocol, protocol)
    installed = entry_points(group=_GROUP)
    if name not in installed.names:
        known = ", ".join(sorted({"none", *installed.names}))
        raise TracingError(
            f"WHISPER_TRACING is on, and the exporter {name!r} that OTEL_TRACES_EXPORTER and"
            f" OTEL_EXPORTER_OTLP_PROTOCOL ask for is not installed; there are: {known}."
            " `pip install -r requirements-tracing.txt` brings the one for OTLP over HTTP."
        )
    return installed[name]


def current_parent() -> str:
    """The span at hand as a W3C traceparent, to travel with a job; empty where there is none."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(_HEADER, "")


def with_parent(traceparent: str) -> Context:
    """What spans of a job begin under; the inverse of `current_parent`."""
    return TraceContextTextMapPropagator().extract({_HEADER: traceparent})
