"""Which pages may open sockets: a browser lets any page, and says only which one it was.

Cross-site WebSocket hijacking is what this is for. Requests need no such check: for them the
browser itself keeps foreign pages from reading answers (CORS).
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from whisper_service.api.denial import deny
from whisper_service.api.errors import shown
from whisper_service.errors import Forbidden

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class OriginCheck:
    """ASGI middleware: a handshake of a foreign page is 403. No `Origin` is no browser."""

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app = app
        self._allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and not self._may(origin, headers.get("host", "")):
                error = Forbidden(
                    f"Pages of {shown(origin)} may not open sockets here;"
                    " WHISPER_CORS_ORIGINS lists who may.",
                    got=shown(origin),
                )
                await deny(scope, receive, send, error)
                return
        await self._app(scope, receive, send)

    def _may(self, origin: str, host: str) -> bool:
        if "*" in self._allowed or origin in self._allowed:
            return True
        return is_same_host(origin, host)


def is_same_host(origin: str, host: str) -> bool:
    """Whether a page came from the host it calls.

    By host and port: where TLS ends in front of us, the page's scheme is https and ours is http.
    """
    try:
        page = urlsplit(origin)
        port = _PORTS[page.scheme]
        called = urlsplit(f"//{host}")
        same_port = (page.port or port) == (called.port or port)
    except (ValueError, KeyError):
        return False
    return page.hostname is not None and page.hostname == called.hostname and same_port
