"""Where errors become answers: the one place that maps the tree of errors.py onto HTTP.

Everything that is raised below the API ends here, so that a client sees one JSON shape whatever
went wrong, that of the protocol it speaks, and never a traceback.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_service.api.http.request import facts_of
from whisper_service.errors import (
    InternalError,
    InvalidParameter,
    InvalidRequest,
    MissingFile,
    NotFound,
    ServiceError,
    Unauthorized,
    UnknownLanguage,
)

logger = logging.getLogger(__name__)

MAX_SHOWN = 100
"""Characters of a client's own value that are said back: enough to recognise it."""

_ALLOWED = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "true or false",
    "string": "text",
    "literal_error": "{expected}",
    "greater_than_equal": "{ge:g} or more",
    "less_than_equal": "{le:g} or less",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_long": "at most {max_length} characters",
    "too_long": "at most {max_length} of them",
}
"""pydantic's error type, or the word it starts with, to what would have been right."""


class ErrorAnswer(NamedTuple):
    """An error as one protocol says it."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = MappingProxyType({})
    """Those that only this protocol has."""


Shape = Callable[[ServiceError], ErrorAnswer]
"""How a protocol says errors."""


def own_shape(error: ServiceError) -> ErrorAnswer:
    """The one JSON shape of this service's own routes."""
    return ErrorAnswer(error.http_status, error.as_dict())


def shape_of(scope: Scope) -> Shape:
    """How errors are said to this request or socket: as the protocol of its path does."""
    front = facts_of(scope).front
    return own_shape if front is None else front.shape


class ErrorResponse(JSONResponse):
    """An error as the answer to a request, or to a handshake that is not accepted.

    A server that cannot answer a handshake with a status closes the socket, which is a 403.
    """

    def __init__(
        self, error: ServiceError, scope: Scope, headers: Mapping[str, str] | None = None
    ) -> None:
        """`scope`: of the request or handshake, whose protocol says how."""
        self._error = error
        answer = shape_of(scope)(error)
        sent = {**answer.headers, **(headers or {})}
        if isinstance(error, Unauthorized):
            sent["WWW-Authenticate"] = "Bearer"  # RFC 9110, section 11.6.1
        if error.retry_after is not None:
            sent["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
        super().__init__(answer.body, answer.status, sent)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        is_socket = scope["type"] == "websocket"
        if is_socket and "websocket.http.response" not in scope.get("extensions", {}):
            code, reason = self._error.ws_close_code, self._error.code
            await send({"type": "websocket.close", "code": code, "reason": reason})
            return
        await super().__call__(scope, receive, send)


def explain(failures: Sequence[Mapping[str, Any]]) -> ServiceError:
    """The first of pydantic's complaints as an error of ours: what, what was got, what is allowed.

    One at a time: a caller can only read one, and the first often causes the rest.
    """
    failure = failures[0]
    kind, context = failure["type"], failure.get("ctx", {})
    # An int in the path is a place in a list: the list is what has a name.
    param = next((part for part in reversed(failure["loc"]) if isinstance(part, str)), "body")
    if param == "file" and kind in ("missing", "value_error"):
        return missing_file()
    if "param" in context:  # one of our own checks, which says it all
        details = {name: context.get(name) for name in ("param", "got", "allowed")}
        return InvalidParameter(failure["msg"], **details)
    got = shown(failure.get("input"))
    if kind == "unknown_language":
        return UnknownLanguage(failure["msg"], param=param, got=got, allowed=context["allowed"])
    if kind == "missing":
        return InvalidParameter(
            f"`{param}` is missing.", param=param, got="nothing", allowed="a value"
        )
    said = failure["msg"].removeprefix("Value error, ")  # pydantic's name for a ValueError of ours
    allowed = context.get("allowed") or _allowed(kind, context) or said
    message = f"`{param}` is {got!r}; allowed is {allowed}."
    return InvalidParameter(message, param=param, got=got, allowed=allowed)


def missing_file(content_type: str = "") -> MissingFile:
    """No upload where one has to be: because the body, of this type, is no multipart form."""
    body = f"; the body is {shown(content_type)}" if content_type else ""
    return MissingFile(
        f"There is no file{body}. Send the audio as the field `file` of a form,"
        " multipart/form-data; with curl: -F file=@audio.wav",
        param="file",
        got="nothing",
        allowed="an audio or video file",
    )


def shown(value: object) -> Any:
    """A client's value, fit to be said back: short, and valid in JSON whatever it was."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**53:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    text = value if isinstance(value, str) else str(value)
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def install_error_handlers(app: FastAPI) -> None:
    """What routes raise is answered inside of the middlewares; see also `CatchErrors`."""
    for kind in (ServiceError, RequestValidationError, HTTPException, ClientDisconnect):
        app.add_exception_handler(kind, answer_exception)


class CatchErrors:
    """The outer wall: answers what middlewares raise, and what nobody expected.

    Not Starlette's own handler for `Exception`: that one sits outside of every middleware, so its
    answers would lack the CORS headers a browser needs to read them, and it raises again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        has_started = False

        async def watched(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # the API's shell: a bug must not reach the client
            response = await answer_exception(HTTPConnection(scope), error)
            if not has_started:
                await response(scope, receive, send)
            elif scope["type"] == "websocket":
                raise  # the server closes it with 1011


async def answer_exception(connection: HTTPConnection, error: Exception) -> Response:
    """The answer to a request or handshake that ended in `error`, in the shape of its protocol."""
    scope = connection.scope
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)  # nginx's, for the access log; nobody reads it
    if isinstance(error, HTTPException):
        return ErrorResponse(_refusal(connection, error), scope, error.headers)
    if isinstance(error, RequestValidationError):
        error = explain(error.errors())
    elif not isinstance(error, ServiceError):
        logger.error(
            "%s %s failed", scope.get("method", "WEBSOCKET"), scope["path"], exc_info=error
        )
        error = InternalError()
    return ErrorResponse(error, scope)


class _MethodNotAllowed(InvalidRequest):
    code, http_status = "method_not_allowed", 405


def _refusal(connection: HTTPConnection, error: HTTPException) -> ServiceError:
    """What Starlette itself refuses: paths, methods, bodies that are no form."""
    path = shown(connection.url.path)
    if error.status_code == 404:
        return NotFound(f"There is nothing at {path}. /docs lists what there is.")
    if error.status_code == 405:
        method = connection.scope["method"]
        allowed = (error.headers or {}).get("Allow", "see /docs")
        return _MethodNotAllowed(f"{method} is not possible at {path}; allowed is {allowed}.")
    return InvalidRequest(str(error.detail))


def _allowed(kind: str, context: Mapping[str, Any]) -> str | None:
    words = _ALLOWED.get(kind) or _ALLOWED.get(kind.split("_")[0])
    return words.format(**context) if words else None
