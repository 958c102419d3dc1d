"""Headers that every answer carries, and HEAD, whose answer is headers alone."""

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_service.api.http.request import facts_of

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    # A page that opens ours, or is opened by it, gets no hold of its window.
    "Cross-Origin-Opener-Policy": "same-origin",
    # Others may fetch what CORS lets them, and embed nothing.
    "Cross-Origin-Resource-Policy": "same-origin",
    # What is no page of ours may do nothing; pages set their own policy.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


_STARTS = ("http.response.start", "websocket.http.response.start")
"""The second one is a handshake that is denied."""


class StandardHeaders:
    """ASGI middleware that adds them, and makes the request's id where the caller gave none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        is_given = _SANE_ID.fullmatch(given) is not None
        request_id = given if is_given else uuid.uuid4().hex
        facts_of(scope).request_id = request_id

        async def with_headers(message: Message) -> None:
            if message["type"] in _STARTS:
                headers = MutableHeaders(scope=message)
                # A given id came from a proxy, such as Serve's, that adds it to the answer itself.
                if not is_given:
                    headers["X-Request-ID"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


class AnswerHead:
    """ASGI middleware: HEAD wherever there is GET, with the same headers and no body (RFC 9110,
    section 9.3.2). Routes see a GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, without_body)
