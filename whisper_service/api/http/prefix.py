"""The path prefix that a proxy in front puts before everything, and may have taken off again.

Says it to whoever needs to know: routes, which leave it out, and the OpenAPI document, which puts
it into addresses. The page and /docs need no prefix: their addresses are relative.
"""

import re

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from whisper_service.api.http.request import route_path

_SANE = re.compile(r"(/[A-Za-z0-9._~-]+)+")


class PathPrefix:
    """ASGI middleware: `prefix`, or else what the proxy says by X-Forwarded-Prefix, is ASGI's
    `root_path`. Paths with it and without it mean the same."""

    def __init__(self, app: ASGIApp, prefix: str = "") -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        prefix = self._prefix or _said_by_proxy(Headers(scope=scope))
        if prefix and scope["path"] == prefix and scope["type"] == "http":
            # Without the slash, the page's relative addresses would miss the prefix.
            await RedirectResponse(f"{prefix.rsplit('/', 1)[1]}/")(scope, receive, send)
            return
        root, rest = str(scope.get("root_path", "")), route_path(scope)
        if rest.startswith(f"{prefix}/"):
            rest = rest[len(prefix) :]
        # ASGI's `path` begins with its `root_path`: what is mounted finds its files by that. It is
        # changed in place, as whoever is outside reads the route that is found from the same scope.
        scope["root_path"] = root + prefix
        scope["path"] = root + prefix + rest
        await self._app(scope, receive, send)


def is_prefix(text: str) -> bool:
    """Whether it is one or more parts of a path, with no slash at its end."""
    return _SANE.fullmatch(text) is not None


def _said_by_proxy(headers: Headers) -> str:
    said = headers.get("x-forwarded-prefix", "").split(",")[0].strip().rstrip("/")
    return said if len(said) <= 200 and is_prefix(said) else ""
