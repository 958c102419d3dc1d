"""Who is let in where keys are asked for: requests and sockets, with keys and with tokens."""

import json
import time

import pytest
from starlette.testclient import TestClient

from tests.api.fakes import level, wav
from tests.api.handshakes import shake
from whisper_service.api.fronts import FRONTS
from whisper_service.keys.file import write_keys
from whisper_service.keys.key import ApiKey, hash_key

KEY = "a key for everything"
READER, SPEAKER = "a key for files only", "a key for streams only"
SOCKETS = ["/stream", "/v1/realtime", "/v1/listen?encoding=linear16&sample_rate=16000"]
DEEPGRAM = SOCKETS[2]


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def keys_file(tmp_path):
    path = tmp_path / "keys.json"
    keys = [
        ApiKey(name="all", sha256=hash_key(KEY)),
        ApiKey(name="files", sha256=hash_key(READER), scopes=("transcribe",)),
        ApiKey(name="streams", sha256=hash_key(SPEAKER), scopes=("stream",)),
    ]
    write_keys(path, keys)
    return path


@pytest.fixture
def app(make_app, keys_file, monkeypatch):
    monkeypatch.setattr("whisper_service.api.access.keyring.CHECK_INTERVAL", 0)
    return make_app(api_keys_file=keys_file)


@pytest.fixture
def client(app):
    return TestClient(app, raise_server_exceptions=False)


def upload(client, headers, path="/transcribe"):
    files = {"file": ("a.wav", wav(level(7)))}
    data = {"model": "base"} if path.startswith("/v1") else {}
    return client.post(path, files=files, data=data, headers=headers)


@pytest.mark.parametrize(
    "headers", [bearer(KEY), {"Authorization": f"token {KEY}"}, {"X-API-Key": KEY}]
)
def test_a_key_opens_in_every_place_it_may_stand(client, headers):
    assert upload(client, headers).json()["text"].strip() == "level 7"


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "no API key"),
        (bearer(""), "no API key"),
        (bearer("a key nobody made"), "not known"),
        (bearer("ek_made.up"), "not made by this service"),
        ({"Authorization": "Basic dTpw"}, "another scheme"),
        ({"X-API-Key": "ключ".encode()}, "not known"),
    ],
)
def test_without_a_key_nothing_is_read(client, decoder, headers, says):
    response = upload(client, headers)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (401, "unauthorized")
    assert says in error["message"]
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert decoder.jobs == []


def test_openais_routes_refuse_in_openais_shape(client):
    response = upload(client, {}, "/v1/audio/transcriptions")
    assert response.status_code == 401
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.json()["error"]["code"] == "unauthorized"


def test_a_browser_can_read_the_refusal(client):
    response = client.get("/models", headers={"Origin": "null"})
    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == "null"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/docs", "/openapi.json"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_probes_and_pages_stay_open(client, path, method):
    assert client.request(method, path).status_code == 200


@pytest.mark.parametrize("path", ["/models", "/languages", "/v1/models", "/nothing", "/docs/"])
def test_everything_else_is_closed(client, path):
    assert client.get(path).status_code == 401


def test_every_route_that_works_has_a_scope(app):
    """A route that is added later cannot be forgotten."""
    works = {path for path, methods in app.openapi()["paths"].items() if "post" in methods}
    works -= {"/tokens", "/v1/realtime/client_secrets"}
    paths = [pair for front in FRONTS for pair in front.paths.items()]
    assert works == {path for path, scope in paths if scope == "transcribe"}


@pytest.mark.parametrize("path", SOCKETS)
async def test_a_socket_needs_a_key(app, path):
    assert (await shake(app, path)).status == 401
    assert (await shake(app, path, bearer("wrong"))).status == 401
    assert (await shake(app, path, bearer(KEY))).status == 101


async def test_a_socket_is_refused_in_its_own_shape(app):
    ours = await shake(app, "/stream")
    assert ours.error["code"] == "unauthorized"
    assert ours.headers["www-authenticate"] == "Bearer"
    assert ours.headers["x-content-type-options"] == "nosniff"
    assert (await shake(app, "/v1/realtime")).error["type"] == "invalid_request_error"
    deepgrams = await shake(app, DEEPGRAM)
    assert "no API key" in deepgrams.headers["dg-error"]
    said = json.loads(deepgrams.body)
    assert (said["err_code"], said["request_id"]) == (
        "unauthorized",
        deepgrams.headers["dg-request-id"],
    )


@pytest.mark.parametrize(
    ("path", "offered", "chosen"),
    [
        ("/stream", ["whisper-streaming", "bearer.{}"], "whisper-streaming"),
        ("/v1/realtime", ["realtime", "openai-insecure-api-key.{}"], "realtime"),
        (DEEPGRAM, ["token", "{}"], "token"),
    ],
)
async def test_a_browser_brings_its_token_as_a_subprotocol(app, client, path, offered, chosen):
    token = client.post("/tokens", headers=bearer(KEY)).json()["token"]
    right = await shake(app, path, offered=[name.format(token) for name in offered])
    assert (right.status, right.subprotocol) == (101, chosen)
    wrong = await shake(app, path, offered=[name.format("ek_wrong") for name in offered])
    assert wrong.status == 401


async def test_a_subprotocol_is_answered_without_keys_as_well(make_app):
    answer = await shake(make_app(), "/stream", offered=["whisper-streaming"])
    assert answer.subprotocol == "whisper-streaming"
    assert (await shake(make_app(), "/stream")).subprotocol is None


async def test_a_scope_opens_only_its_own(app, client):
    assert upload(client, bearer(READER)).status_code == 200
    response = upload(client, bearer(SPEAKER))
    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")
    assert "`transcribe`" in response.json()["error"]["message"]
    assert (await shake(app, "/stream", bearer(READER))).status == 403
    assert (await shake(app, "/stream", bearer(SPEAKER))).status == 101
    assert client.get("/models", headers=bearer(SPEAKER)).status_code == 200


def test_a_prefix_in_front_opens_nothing_more(app):
    """Behind a prefix the scope is asked for as well: the path alone would miss it."""
    client = TestClient(app, root_path="/whisper")
    assert client.get("/whisper/healthz").status_code == 200
    assert upload(client, bearer(SPEAKER), "/whisper/transcribe").status_code == 403
    assert upload(client, bearer(READER), "/whisper/transcribe").status_code == 200


def test_a_file_that_changes_is_read_again(client, keys_file):
    assert client.get("/models", headers=bearer("another key")).status_code == 401
    write_keys(keys_file, [ApiKey(name="other", sha256=hash_key("another key"))])
    assert client.get("/models", headers=bearer("another key")).status_code == 200
    assert client.get("/models", headers=bearer(KEY)).status_code == 401


def test_a_broken_file_locks_nobody_out(client, keys_file, caplog):
    keys_file.write_text("{")
    assert client.get("/models", headers=bearer(KEY)).status_code == 200
    assert "stay as they were" in caplog.text
    keys_file.unlink()
    assert client.get("/models", headers=bearer(KEY)).status_code == 200


def test_the_file_is_looked_at_once_an_interval(make_client, keys_file, monkeypatch):
    monkeypatch.setattr("whisper_service.api.access.keyring.CHECK_INTERVAL", 3600)
    client = make_client(api_keys_file=keys_file)
    write_keys(keys_file, [])
    assert client.get("/models", headers=bearer(KEY)).status_code == 200


def test_no_answer_and_no_log_holds_a_key(client, caplog):
    caplog.set_level("DEBUG")
    response = upload(client, bearer("a key nobody made"))
    assert "nobody made" not in response.text + str(response.headers) + caplog.text


# --- tokens


async def test_a_token_has_its_keys_rights_and_no_more(app, client):
    token = client.post("/tokens", headers=bearer(SPEAKER)).json()["token"]
    assert upload(client, bearer(token)).status_code == 403
    assert (await shake(app, "/stream", bearer(token))).status == 101
    asked = client.post("/tokens", headers=bearer(SPEAKER), json={"scopes": ["transcribe"]})
    assert asked.status_code == 403


async def test_a_token_may_have_fewer_rights(app, client):
    body = {"scopes": ["transcribe"], "expires_in": 60}
    made = client.post("/tokens", headers=bearer(KEY), json=body)
    assert made.headers["cache-control"] == "no-store"
    assert made.json()["expires_at"] == pytest.approx(time.time() + 60, abs=5)
    token = made.json()["token"]
    assert upload(client, bearer(token)).status_code == 200
    assert (await shake(app, "/stream", bearer(token))).status == 403


@pytest.mark.parametrize("path", ["/tokens", "/v1/realtime/client_secrets"])
def test_a_token_makes_no_token(client, path):
    assert client.post(path, json={}).status_code == 401
    made = client.post(path, json={}, headers=bearer(KEY)).json()
    token = made.get("token") or made["value"]
    assert client.post(path, json={}, headers=bearer(token)).status_code == 403


async def test_a_client_secret_is_a_token_for_streams(app, client):
    made = client.post("/v1/realtime/client_secrets", json={}, headers=bearer(KEY)).json()
    offered = ["realtime", f"openai-insecure-api-key.{made['value']}"]
    assert (await shake(app, "/v1/realtime", offered=offered)).status == 101
    assert upload(client, bearer(made["value"])).status_code == 403


def test_a_key_for_files_makes_no_client_secret(client):
    asked = client.post("/v1/realtime/client_secrets", json={}, headers=bearer(READER))
    assert asked.status_code == 403


def test_a_token_ends(client, monkeypatch):
    token = client.post("/tokens", headers=bearer(KEY), json={"expires_in": 10}).json()["token"]
    assert client.get("/models", headers=bearer(token)).status_code == 200
    now = time.time()
    monkeypatch.setattr("whisper_service.api.access.authentication.time.time", lambda: now + 11)
    assert client.get("/models", headers=bearer(token)).status_code == 401


def test_a_token_dies_with_its_key(client, keys_file):
    token = client.post("/tokens", headers=bearer(KEY)).json()["token"]
    # Another key under the old name does not bring it back.
    write_keys(keys_file, [ApiKey(name="all", sha256=hash_key("another key"))])
    assert client.get("/models", headers=bearer(token)).status_code == 401


def test_a_token_that_was_made_without_keys_opens_nothing_with_them(make_client, client):
    token = make_client().post("/tokens").json()["token"]
    assert client.get("/models", headers=bearer(token)).status_code == 401


@pytest.mark.parametrize("seconds", [9, 7201, -1, 10**30])
def test_a_token_of_a_strange_age_is_refused(client, seconds):
    response = client.post("/tokens", headers=bearer(KEY), json={"expires_in": seconds})
    assert response.status_code == 422
    assert "10 to 7200" in response.json()["error"]["message"]


def test_docs_have_a_place_for_the_key(client, make_client):
    document = client.get("/openapi.json").json()
    assert document["security"] == [{"key": []}]
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert "security" not in make_client().get("/openapi.json").json()
