"""What one key may have, and that others are not touched by it."""

import asyncio

import httpx
import pytest
from starlette.testclient import TestClient

from tests.api.fakes import PATIENCE, level, wav
from tests.api.handshakes import opened, shake
from whisper_service.api.access.quotas import Allowance
from whisper_service.errors import RateLimited
from whisper_service.keys.file import write_keys
from whisper_service.keys.key import ApiKey, hash_key

BIG, SMALL = {"X-API-Key": "a key with no limits"}, {"X-API-Key": "a key with limits"}


@pytest.fixture
def make(make_app, tmp_path):
    """A service with one key that has limits and one that has none."""

    def make(settings=None, **limits):
        path = tmp_path / "keys.json"
        keys = [
            ApiKey(name="big", sha256=hash_key(BIG["X-API-Key"])),
            ApiKey(name="small", sha256=hash_key(SMALL["X-API-Key"]), **limits),
        ]
        write_keys(path, keys)
        return make_app(api_keys_file=path, **settings or {})

    return make


def test_requests_a_minute(make):
    client = TestClient(make(requests_per_minute=2))
    for _ in range(2):
        assert client.get("/models", headers=SMALL).status_code == 200
    response = client.get("/models", headers=SMALL)
    assert (response.status_code, response.json()["error"]["code"]) == (429, "rate_limited")
    assert 1 <= int(response.headers["retry-after"]) <= 30
    assert client.get("/models", headers=BIG).status_code == 200


async def test_a_handshake_is_a_request(make):
    app = make(requests_per_minute=1)
    assert (await shake(app, "/stream", SMALL)).status == 101
    refused = await shake(app, "/stream", SMALL)
    assert (refused.status, refused.error["code"]) == (429, "rate_limited")
    assert "retry-after" in refused.headers


def test_a_tokens_requests_are_its_keys(make):
    client = TestClient(make(requests_per_minute=2))
    token = client.post("/tokens", headers=SMALL).json()["token"]
    assert client.get("/models", headers={"X-API-Key": token}).status_code == 200
    assert client.get("/models", headers=SMALL).status_code == 429


async def test_streams_at_once(make):
    app = make(max_streams=1)
    async with opened(app, "/stream", SMALL):
        refused = await shake(app, "/v1/realtime", SMALL)
        assert (refused.status, refused.error["code"]) == (429, "rate_limited")
        assert (await shake(app, "/stream", BIG)).status == 101
    assert (await shake(app, "/stream", SMALL)).status == 101  # the place is free again


async def test_uploads_at_once(make, decoder):
    decoder.gate.clear()
    transport = httpx.ASGITransport(make(max_uploads=1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

        async def upload(key):
            files = {"file": ("a.wav", wav(level(7)))}
            return (await client.post("/transcribe", headers=key, files=files)).status_code

        async with asyncio.timeout(PATIENCE):
            first = asyncio.create_task(upload(SMALL))
            await decoder.begun.acquire()
            assert await upload(SMALL) == 429
            decoder.gate.set()
            assert (await first, await upload(BIG), await upload(SMALL)) == (200, 200, 200)


def test_upload_bytes_a_minute(make):
    client = TestClient(make(upload_bytes_per_minute=50_000))

    def upload(key):
        return client.post("/transcribe", headers=key, files={"file": ("a.wav", wav(level(7)))})

    assert upload(SMALL).status_code == 200  # of 32 kB
    refused = upload(SMALL)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.json()["error"]["limit"] == 50_000
    assert upload(BIG).status_code == 200
    assert client.get("/models", headers=SMALL).status_code == 200


def test_a_body_without_a_length_is_counted_too(make):
    client = TestClient(make({"key_upload_bytes_per_minute": 1000}))
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    kind = {"content-type": "multipart/form-data; boundary=x"}
    body = iter([head, *[b"x" * 500] * 9])
    response = client.post("/transcribe", content=body, headers={**BIG, **kind})
    assert response.status_code == 429


def test_a_default_is_for_keys_without_a_limit_of_their_own(make):
    client = TestClient(make({"key_requests_per_minute": 1}, requests_per_minute=3))
    said = [client.get("/models", headers=BIG).status_code for _ in range(2)]
    assert said == [200, 429]
    said = [client.get("/models", headers=SMALL).status_code for _ in range(4)]
    assert said == [200, 200, 200, 429]


@pytest.mark.parametrize("per_minute", [1, 7, 60, 6000])
def test_a_minutes_worth_comes_at_once_and_grows_back_evenly(per_minute):
    allowance, now = Allowance("requests"), 1000.0
    for _ in range(per_minute):
        allowance.spend(1, per_minute, now)
    with pytest.raises(RateLimited) as caught:
        allowance.spend(1, per_minute, now)
    wait = caught.value.retry_after
    assert wait == pytest.approx(60 / per_minute)
    allowance.spend(1, per_minute, now + wait)
    with pytest.raises(RateLimited):
        allowance.spend(1, per_minute, now + wait)


def test_what_was_refused_costs_nothing():
    allowance = Allowance("bytes")
    allowance.spend(10, 60, 0.0)
    for _ in range(5):
        with pytest.raises(RateLimited):
            allowance.spend(51, 60, 0.0)
    allowance.spend(50, 60, 0.0)
