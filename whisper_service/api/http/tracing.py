"""A span for every request and socket, from its first byte to its last."""

from opentelemetry import propagate
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_service.api.http.request import facts_of, route_path

PROBES = ("/healthz", "/readyz")
"""Asked every few seconds by whoever watches the service, and of no interest."""


class TraceRequests:
    """ASGI middleware. A trace that the caller began (W3C `traceparent`) is gone on with.

    Names follow OpenTelemetry's conventions for HTTP; the path is the route's, not the caller's.
    """

    # Not opentelemetry-instrumentation-asgi 0.66b2: it raises UnicodeDecodeError for headers and
    # query strings of some bytes, outside of what answers errors; its spans hold query strings, end
    # with the last byte of the body, and know no close codes. What adds that is as long as this.

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or route_path(scope) in PROBES:
            await self._app(scope, receive, send)
            return
        method = scope.get("method", "WEBSOCKET")
        with self._tracer.start_as_current_span(
            method,
            context=propagate.extract(dict(Headers(scope=scope))),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "url.path": scope["path"]},
        ) as span:

            async def watch(message: Message) -> None:
                _note(span, message)
                await send(message)

            try:
                await self._app(scope, receive, watch)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if route is not None:
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
                if request_id := facts_of(scope).request_id:
                    span.set_attribute("whisper.request_id", request_id)


def _note(span: Span, message: Message) -> None:
    """What the answer was. 4xx is the caller's error, not one of this span."""
    if message["type"] in ("http.response.start", "websocket.http.response.start"):
        span.set_attribute("http.response.status_code", message["status"])
        if message["status"] >= 500:
            span.set_status(StatusCode.ERROR)
    elif message["type"] == "websocket.close":
        code = message.get("code", 1000)
        span.set_attribute("whisper.close_code", code)
        if code == 1011:
            span.set_status(StatusCode.ERROR)
