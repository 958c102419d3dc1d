"""What a node's proxy says for a replica that died; tests/cluster kills real ones."""

import inspect
from typing import Any

import httpx
import pytest
from ray._common.utils import import_attr
from ray.serve._private import constants, http_util
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from whisper_service.serving import proxy
from whisper_service.serving.proxy import LostReplicaMiddleware


async def dies(scope: Scope, receive: Receive, send: Send) -> None:
    """As Serve's proxy does: a handler may have spoken, and then there is nothing more."""
    await receive()
    if scope["path"] == "/accepted":
        await send({"type": "websocket.accept"})
        await receive()
    if scope["path"] == "/begun":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})


@pytest.fixture
def client() -> TestClient:
    return TestClient(LostReplicaMiddleware(dies))


@pytest.mark.parametrize(
    ("path", "kind"), [("/transcribe", None), ("/v1/audio/transcriptions", "server_error")]
)
def test_a_request_is_told_to_come_again_in_its_protocols_shape(
    client: TestClient, path: str, kind: str | None
) -> None:
    answer: httpx.Response = client.post(path, content=b"audio")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    error = answer.json()["error"]
    assert error["code"] == "restarting"
    assert error.get("type") == kind


def test_a_handshake_is_told_to_come_again(client: TestClient) -> None:
    with pytest.raises(WebSocketDenialResponse) as refusal, client.websocket_connect("/stream"):
        pass
    assert refusal.value.status_code == 503


def test_an_open_socket_is_closed_as_one_that_may_resume(client: TestClient) -> None:
    with client.websocket_connect("/accepted") as socket:
        socket.send_text("{}")
        with pytest.raises(WebSocketDisconnect) as close:
            socket.receive_text()
    assert close.value.code == 1012


async def test_an_answer_that_has_begun_is_not_made_to_look_whole() -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await LostReplicaMiddleware(dies)({"type": "http", "path": "/begun"}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[-1]["more_body"]


async def test_who_has_left_is_told_nothing() -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await LostReplicaMiddleware(dies)({"type": "http", "path": "/transcribe"}, receive, send)
    assert sent == []


def test_ray_finds_it() -> None:
    assert f'"{proxy.CALLBACK_VARIABLE}"' in inspect.getsource(constants)
    found = http_util.validate_http_proxy_callback_return(import_attr(proxy.CALLBACK)())
    assert [middleware.cls for middleware in found] == [LostReplicaMiddleware]
