"""Where a caller's key or token stands in a request. Knows no keys, only places.

Headers for programs; subprotocols for browsers' sockets, which cannot set headers and whose
addresses end up in logs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_service.errors import Unauthorized

_SCHEMES = ("bearer", "token")


@dataclass(frozen=True, slots=True)
class Subprotocol:
    """How a protocol lets a browser bring a key: it offers two subprotocols, one of which is the
    key. The server answers the other; a key is never repeated."""

    name: str
    key_prefix: str = ""
    """What the key's one begins with. Empty where it is the bare key, behind the name."""

    def key(self, offered: Sequence[str]) -> str | None:
        """The key among the subprotocols that a client offers."""
        if not self.key_prefix:
            return offered[1] if len(offered) > 1 and offered[0] == self.name else None
        keys = (one for one in offered if one.startswith(self.key_prefix))
        return next((key.removeprefix(self.key_prefix) for key in keys), None)


def credential(scope: Scope, subprotocols: Sequence[Subprotocol]) -> str | None:
    """The key or token of a request or handshake; None without one.

    Raises `Unauthorized` for an `Authorization` of another scheme.
    """
    headers = Headers(scope=scope)
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if value.strip():
        if scheme.lower() not in _SCHEMES:
            raise Unauthorized("`Authorization` has another scheme than Bearer or Token.")
        return value.strip()
    if key := headers.get("x-api-key", "").strip():
        return key
    offered = scope.get("subprotocols", [])
    keys = (subprotocol.key(offered) for subprotocol in subprotocols)
    return next((key for key in keys if key is not None), None)


class AnswerSubprotocol:
    """ASGI middleware that answers a browser's offer where a handler has not.

    A browser drops a connection when it offered subprotocols and none was chosen.
    """

    def __init__(self, app: ASGIApp, subprotocols: Sequence[Subprotocol]) -> None:
        self._app = app
        self._names = [subprotocol.name for subprotocol in subprotocols]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        offered = scope.get("subprotocols", [])
        chosen = next((name for name in self._names if name in offered), None)

        async def answered(message: Message) -> None:
            if message["type"] == "websocket.accept" and message.get("subprotocol") is None:
                message = {**message, "subprotocol": chosen}
            await send(message)

        await self._app(scope, receive, answered)
