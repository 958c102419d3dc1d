"""Errors as OpenAI's clients read them: {"error": {"message", "type", "param", "code"}}.

https://developers.openai.com/api/docs/guides/error-codes
"""

from whisper_service.api.http.errors import ErrorAnswer
from whisper_service.errors import InvalidAudio, ServiceError

_STATUSES = {422: 400}
"""OpenAI answers 400 where this service answers 422."""
_CODES = {"unknown_model": "model_not_found"}
_CODE_STATUSES = {"unknown_model": 404}
_PARAMS = {"model_size": "model", "task": "model"}
"""Our names of what is called otherwise, or is a path, there."""
_AUDIO_CODES = {InvalidAudio.code} | {kind.code for kind in InvalidAudio.__subclasses__()}


def error_answer(error: ServiceError) -> ErrorAnswer:
    """An error as everything below /v1 says it."""
    code = error.code
    status = _CODE_STATUSES.get(code) or _STATUSES.get(error.http_status, error.http_status)
    param: str | None = "file" if code in _AUDIO_CODES else error.details.get("param")
    fields = {
        "message": error.message,
        "type": "invalid_request_error" if status < 500 else "server_error",
        "param": _PARAMS.get(param or "", param),
        "code": _CODES.get(code, code),
    }
    return ErrorAnswer(status, {"error": fields})
