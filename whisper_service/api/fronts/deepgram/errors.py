"""Errors as Deepgram's clients read them: {"err_code", "err_msg", "request_id"}, and in headers."""

import uuid

from whisper_service.api.http.errors import ErrorAnswer
from whisper_service.api.log_context import current_session
from whisper_service.errors import ServiceError

MAX_SAID = 200
"""Characters of a message in a header."""


def error_answer(error: ServiceError) -> ErrorAnswer:
    """An error as /v1/listen says it; the id is the one that log lines have."""
    request_id = current_session() or str(uuid.uuid4())
    said = error.message.encode("ascii", "replace").decode()[:MAX_SAID]
    return ErrorAnswer(
        400 if error.http_status == 422 else error.http_status,
        {"err_code": error.code, "err_msg": error.message, "request_id": request_id},
        {"dg-error": said, "dg-request-id": request_id},
    )
