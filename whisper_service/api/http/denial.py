"""How a caller is turned away before a route or a socket's handler sees it."""

from starlette.types import Receive, Scope, Send

from whisper_service.api.access.scopes import route_path
from whisper_service.api.fronts.openai.errors import error_answer
from whisper_service.api.http.errors import error_response, own_shape
from whisper_service.errors import ServiceError, Unauthorized


async def deny(scope: Scope, receive: Receive, send: Send, error: ServiceError) -> None:
    """Answer a request, or a handshake before it is accepted, in its protocol's shape.

    A server that cannot answer a handshake with a status closes the socket, which is a 403.
    """
    path, is_socket = route_path(scope), scope["type"] == "websocket"
    if is_socket and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": error.ws_close_code, "reason": error.code})
        return
    headers = {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, section 11.6.1
    if path == "/v1/listen":
        headers["dg-error"] = error.message.encode("ascii", "replace").decode()[:200]
    # What is no socket and below /v1 is translated by the middleware `OpenAIErrors`.
    shape = error_answer if is_socket and path == "/v1/realtime" else own_shape
    await error_response(error, headers, shape=shape)(scope, receive, send)
