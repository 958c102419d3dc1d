"""What a node's proxy answers for a WhisperService replica that died while it had a request.

Serve's proxy (ray 2.60, `serve/_private/proxy.py`) says nothing then: uvicorn makes a bare 500 of
that, and breaks an open socket off without a close frame. Neither tells a client that another try
will do. Ray finds `middlewares` by the variable RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH.
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_service.api.fronts import FRONTS
from whisper_service.api.fronts.front import FindFront
from whisper_service.api.http.errors import ErrorResponse
from whisper_service.errors import RETRY_AFTER, Restarting

CALLBACK_VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
CALLBACK = "whisper_service.serving.proxy:middlewares"


def middlewares() -> list[Middleware]:
    """What Serve wraps around every proxy of the cluster."""
    return [Middleware(LostReplicaMiddleware)]


class LostReplicaMiddleware:
    """ASGI middleware: answers what the application has left without an answer.

    A request gets a 503 with `Retry-After`, an accepted socket the close code 1012. A response
    that had begun stays cut off: its client can see that it is not whole.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        last_sent, has_left = None, False

        async def watched_receive() -> Message:
            nonlocal has_left
            message = await receive()
            has_left = has_left or message["type"].endswith(".disconnect")
            return message

        async def watched_send(message: Message) -> None:
            nonlocal last_sent
            last_sent = message["type"]
            await send(message)

        await self._app(scope, watched_receive, watched_send)
        if has_left:
            return
        if last_sent is None:
            await FindFront(_deny, FRONTS)(scope, receive, send)
        elif last_sent in ("websocket.accept", "websocket.send"):
            error = _error()
            await send({"type": "websocket.close", "code": error.ws_close_code})


async def _deny(scope: Scope, receive: Receive, send: Send) -> None:
    await ErrorResponse(_error(), scope)(scope, receive, send)


def _error() -> Restarting:
    return Restarting(
        "The process that had this request ended before it could answer; send it again.",
        retry_after=RETRY_AFTER,
    )
