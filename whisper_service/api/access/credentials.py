"""Where a caller's key or token stands in a request. Knows no keys, only places.

Headers for programs; subprotocols for browsers' sockets, which cannot set headers and whose
addresses end up in logs: ours, OpenAI's and Deepgram's way.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_service.errors import Unauthorized

OUR_PROTOCOL = "whisper-streaming"
_OPENAI_PROTOCOL = "realtime"
_DEEPGRAM_PROTOCOL = "token"
_ANSWERED = (OUR_PROTOCOL, _OPENAI_PROTOCOL, _DEEPGRAM_PROTOCOL)
"""What a server says back; the credentials beside it are never repeated."""
_PREFIXES = ("bearer.", "openai-insecure-api-key.")
_SCHEMES = ("bearer", "token")


def credential(scope: Scope) -> str | None:
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
    return _from_protocols(scope.get("subprotocols", []))


def _from_protocols(offered: list[str]) -> str | None:
    for protocol in offered:
        for prefix in _PREFIXES:
            if protocol.startswith(prefix):
                return protocol.removeprefix(prefix)
    if offered[:1] == [_DEEPGRAM_PROTOCOL] and len(offered) > 1:
        return offered[1]
    return None


class AnswerSubprotocol:
    """ASGI middleware that answers a browser's offer where a handler has not.

    A browser drops a connection when it offered subprotocols and none was chosen.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        offered = scope.get("subprotocols", [])
        chosen = next((name for name in _ANSWERED if name in offered), None)

        async def answered(message: Message) -> None:
            if message["type"] == "websocket.accept" and message.get("subprotocol") is None:
                message = {**message, "subprotocol": chosen}
            await send(message)

        await self._app(scope, receive, answered)
