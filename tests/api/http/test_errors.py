"""What ends a request or a handshake becomes one answer, whatever raised it."""

import pytest

from tests.api.handshakes import shake
from whisper_service.api.http.errors import ErrorResponse
from whisper_service.errors import Overloaded, Unauthorized


@pytest.mark.parametrize(
    ("path", "field", "code"),
    [
        ("/v1/realtime", "type", "server_error"),
        ("/v1/listen?encoding=linear16&sample_rate=16000", "err_code", "internal_error"),
    ],
)
async def test_a_bug_before_a_handshake_is_told_in_its_protocols_shape(
    app, decoder, caplog, path, field, code
):
    decoder.models = None
    answer = await shake(app, path)
    assert answer.status == 500
    assert f'"{field}":"{code}"'.encode() in answer.body
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "TypeError" in caplog.text  # for whoever runs the service, and not in the answer


async def test_where_a_handshake_cannot_be_answered_it_is_closed():
    scope, sent = {"type": "websocket", "path": "/stream"}, []

    async def send(message):
        sent.append(message)

    await ErrorResponse(Overloaded("Full."), scope)(scope, None, send)
    assert sent == [{"type": "websocket.close", "code": 1013, "reason": "overloaded"}]


def test_headers_say_what_to_do_about_an_error():
    scope = {"type": "http", "path": "/transcribe"}
    assert ErrorResponse(Unauthorized("x"), scope).headers["www-authenticate"] == "Bearer"
    assert ErrorResponse(Overloaded("x", retry_after=0.2), scope).headers["retry-after"] == "1"
    assert ErrorResponse(Overloaded("x"), scope, {"Connection": "close"}).headers["connection"]
