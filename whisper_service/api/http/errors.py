"""Where errors become answers: the one place that maps the tree of errors.py onto HTTP.

Everything that is raised below the API ends here, so that a client sees one JSON shape whatever
went wrong, and never a traceback.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_service.errors import (
    InternalError,
    InvalidParameter,
    InvalidRequest,
    MissingFile,
    ServiceError,
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


Shape = Callable[[ServiceError], tuple[int, dict[str, Any]]]
"""How a protocol answers an error: the status and the body."""


def own_shape(error: ServiceError) -> tuple[int, dict[str, Any]]:
    """The one JSON shape of this service's own routes."""
    return error.http_status, error.as_dict()


def error_response(
    error: ServiceError, headers: Mapping[str, str] | None = None, *, shape: Shape = own_shape
) -> JSONResponse:
    """An error as an answer, with `Retry-After` where another try makes sense."""
    sent = dict(headers or {})
    if error.retry_after is not None:
        sent["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    status, body = shape(error)
    return JSONResponse(body, status_code=status, headers=sent)


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
    """Give every failure of `app` the one shape; see also `CatchErrors` for bugs."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(ClientDisconnect, _client_gone)


class CatchErrors:
    """The outer wall: an exception nobody expected is logged and answered with a plain 500.

    Not Starlette's own handler for `Exception`: that one sits outside of every middleware, so its
    answers would lack the CORS headers a browser needs to read them, and it raises again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def watched(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:  # the API's shell: a bug must not reach the client
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if not has_started:
                await error_response(InternalError())(scope, receive, send)


async def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return error_response(error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_response(explain(error.errors()))


async def _http_exception(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: paths, methods, bodies that are no form."""
    assert isinstance(error, HTTPException)
    path = shown(request.url.path)
    if error.status_code == 404:
        message = f"There is nothing at {path}. /docs lists what there is."
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "see /docs")
        message = f"{request.method} is not possible at {path}; allowed is {allowed}."
    else:
        message = str(error.detail)
    body = InvalidRequest(message).as_dict()
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
    if code is not None:
        body["error"]["code"] = code
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def _client_gone(request: Request, error: Exception) -> Response:
    """Nobody reads this; nginx's 499 says so in the access log."""
    return Response(status_code=499)


def _allowed(kind: str, context: Mapping[str, Any]) -> str | None:
    words = _ALLOWED.get(kind) or _ALLOWED.get(kind.split("_")[0])
    return words.format(**context) if words else None
