"""Which pages may open sockets: a browser lets any page, and says only which one it was.

Cross-site WebSocket hijacking is what this is for. Requests need no such check: for them the
browser itself keeps foreign pages from reading answers (CORS).
"""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Receive, Scope, Send

from whisper_service.api.access.scopes import needed_scope
from whisper_service.api.http.errors import shown
from whisper_service.errors import Forbidden

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_FORWARDED_HOST = re.compile(r'(?:^|;)\s*host="?([^";\s]+)', re.IGNORECASE)
_PORT = re.compile(r":\d+$")


class OriginCheck:
    """ASGI middleware: a handshake of a foreign page is 403. No `Origin` is no browser.

    A page cannot read why its handshake failed. It may ask by GET, at the socket's own path with
    `?origin=ITS_ORIGIN` and through the same proxies, and is told the same.
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app = app
        self._allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] in ("http", "websocket") else Headers()
        origin = _origin_of(scope, headers)
        if origin is not None and not self._may(origin, headers):
            raise _error(origin, headers)
        await self._app(scope, receive, send)

    def _may(self, origin: str, headers: Headers) -> bool:
        if "*" in self._allowed or origin in self._allowed:
            return True
        return any(is_same_host(origin, host) for host in called_hosts(headers))


def _origin_of(scope: Scope, headers: Headers) -> str | None:
    if scope["type"] == "websocket":
        return headers.get("origin")
    if scope["type"] == "http" and needed_scope(scope) == "stream":
        return QueryParams(scope["query_string"]).get("origin")
    return None


def _error(origin: str, headers: Headers) -> Forbidden:
    hosts = " or ".join(f"'{shown(host)}'" for host in called_hosts(headers)) or "none"
    return Forbidden(
        f"Pages of {shown(origin)} may not open sockets here, as the host that was called is"
        f" {hosts}. A proxy in between has to pass on the header Host (nginx: `proxy_set_header"
        " Host $http_host`) or to set X-Forwarded-Host; WHISPER_CORS_ORIGINS lists other pages that"
        " may.",
        param="origin",
        got=shown(origin),
    )


def called_hosts(headers: Headers) -> list[str]:
    """The hosts that a request may have been sent to, as the page knows them: HOST or HOST:PORT.

    `Host`, or what a proxy says it was: the first of X-Forwarded-Host or `Forwarded` (RFC 7239).
    Browsers let no page set these on a handshake, so they say nothing that helps a foreign one. A
    proxy's `Host` often lacks the port (nginx's $host), which X-Forwarded-Port then has.
    """
    forwarded = headers.get("x-forwarded-host", "").split(",")[0].strip()
    named = _FORWARDED_HOST.search(headers.get("forwarded", "").split(",")[0])
    hosts = [headers.get("host", ""), forwarded, named[1] if named else ""]
    port = headers.get("x-forwarded-port", "").split(",")[0].strip()
    if port.isdecimal():
        hosts += [f"{host}:{port}" for host in hosts if host and not _PORT.search(host)]
    return list(dict.fromkeys(filter(None, hosts)))


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
