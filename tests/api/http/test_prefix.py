"""Behind a path prefix: taken off by the proxy or not, said by it, by Serve, or by a setting."""

import pytest
from starlette.testclient import TestClient

from tests.api.fakes import connect, level, wav

FILE = {"file": ("a.wav", wav(level(7)))}
SAID = {"X-Forwarded-Prefix": "/tools/whisper"}


@pytest.fixture(params=["setting", "header", "server"])
def client(make_app, request):
    """The service below /tools/whisper, known to it in three ways."""
    app = make_app(root_path="/tools/whisper" if request.param == "setting" else "")
    root = "/tools/whisper" if request.param == "server" else ""
    headers = SAID if request.param == "header" else {}
    return TestClient(app, root_path=root, headers=headers)


@pytest.mark.parametrize("prefix", ["", "/tools/whisper"])
def test_every_path_is_the_same_with_the_prefix_and_without(client, prefix):
    assert client.post(f"{prefix}/transcribe", files=FILE).json()["text"] == "level 7"
    assert client.get(f"{prefix}/").headers["content-type"].startswith("text/html")
    assert client.get(f"{prefix}/healthz").status_code == 200
    assert client.get(f"{prefix}/docs/assets/swagger-ui.css").status_code == 200
    answer = client.post(f"{prefix}/v1/audio/transcriptions", files=FILE, data={"model": "none"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")


def test_the_document_of_the_api_has_it_in_its_addresses(client):
    assert {"url": "/tools/whisper"} in client.get("/openapi.json").json()["servers"]
    assert 'href="docs/assets' in client.get("/docs").text  # relative: no prefix is needed


async def test_sockets_are_there_too(make_app):
    app = make_app(root_path="/whisper")
    async with connect(app, {"vad": False}, path="/whisper/stream") as socket:
        socket.send(level(7))
        socket.send({"type": "stop"})
        assert (await socket.until("done"))["text"].strip() == "level 7"


def test_the_prefix_alone_leads_to_the_page(make_client):
    answer = make_client(root_path="/tools/whisper").get("/tools/whisper", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "whisper/")


@pytest.mark.parametrize("said", ["//evil.example", "/a?b", "/<script>", "/" + "a" * 300, "x"])
def test_a_header_that_is_no_prefix_says_nothing(make_client, said):
    answer = make_client().get("/openapi.json", headers={"X-Forwarded-Prefix": said})
    assert "servers" not in answer.json()


@pytest.mark.parametrize(("prefix", "path"), [("/docs", "/docs/models"), ("/x", "/x/models")])
def test_a_header_opens_nothing_that_needs_a_key(make_client, prefix, path):
    client = make_client(api_keys="a key for all these tests")
    assert client.get(path, headers={"X-Forwarded-Prefix": prefix}).status_code == 401


def test_a_prefix_of_the_server_and_one_of_a_proxy(make_app):
    client = TestClient(make_app(), root_path="/serve", headers=SAID)
    assert client.get("/serve/healthz").status_code == 200
    assert client.get("/serve/tools/whisper/healthz").status_code == 200
