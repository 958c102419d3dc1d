"""Errors as OpenAI's clients read them: {"error": {"message", "type", "param", "code"}}.

One middleware translates every answer below /v1, whoever refused: a route, the guard of uploads,
the router, or the wall that catches bugs. The same function writes the examples of /docs.
https://developers.openai.com/api/docs/guides/error-codes
"""

import json
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_service.api.access.scopes import route_path
from whisper_service.errors import InvalidAudio, ServiceError

PREFIX = "/v1/"

_STATUSES = {422: 400}
"""OpenAI answers 400 where this service answers 422."""
_CODES = {"unknown_model": "model_not_found"}
_CODE_STATUSES = {"unknown_model": 404}
_PARAMS = {"model_size": "model", "task": "model"}
"""Our names of what is called otherwise, or is a path, there."""
_AUDIO_CODES = {InvalidAudio.code} | {kind.code for kind in InvalidAudio.__subclasses__()}


def openai_error(status: int, error: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """The status and the body for an error of ours, given as its status and its fields."""
    code = error["code"]
    status = _CODE_STATUSES.get(code) or _STATUSES.get(status, status)
    param: str | None = "file" if code in _AUDIO_CODES else error.get("param")
    fields = {
        "message": error["message"],
        "type": "invalid_request_error" if status < 500 else "server_error",
        "param": _PARAMS.get(param or "", param),
        "code": _CODES.get(code, code),
    }
    return status, {"error": fields}


def error_answer(error: ServiceError) -> tuple[int, dict[str, Any]]:
    """The status and the body that these routes answer for an error."""
    return openai_error(error.http_status, error.as_dict()["error"])


class OpenAIErrors:
    """ASGI middleware: below /v1, errors in our shape leave in OpenAI's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not route_path(scope).startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, _Translated(send).send)


class _Translated:
    """Passes an answer on, unless it is an error: that is held until it is whole."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_error(self._start)

    async def _send_error(self, start: Message) -> None:
        body = self._body
        if body:  # a client that left is answered with nothing
            status, fields = openai_error(start["status"], json.loads(body)["error"])
            body = json.dumps(fields, ensure_ascii=False).encode()
            start["status"] = status
            MutableHeaders(scope=start)["content-length"] = str(len(body))
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})
