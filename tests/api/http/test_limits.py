import asyncio

import pytest

from tests.api.fakes import level, wav
from whisper_service.api.files import transcription
from whisper_service.api.files.admission import UploadAdmission
from whisper_service.api.fronts import FRONTS
from whisper_service.api.fronts.front import front_of
from whisper_service.api.http import limits
from whisper_service.api.http.limits import Limit, UploadGuard
from whisper_service.api.http.memory import WORTH_IT
from whisper_service.api.http.request import RequestFacts
from whisper_service.errors import Overloaded, RateLimited


async def parts(scope, receive, send):
    """An application that reads its whole body and says how long it was."""
    n_bytes, more = 0, True
    while more:
        message = await receive()
        n_bytes, more = n_bytes + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(n_bytes).encode()})


async def swallows(scope, receive, send):
    """An application that answers 400 to a body it can't read, as form parsers do."""
    try:
        await parts(scope, receive, send)
    except Exception:  # noqa: BLE001  what is being imitated
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Post:
    """One POST through a guard, part by part."""

    def __init__(self, app=parts, limit=None, headers=(), path="/", **limits):
        limits = {"max_bytes": 10, "timeout": 60.0, **limits}
        self.guard = UploadGuard(app, uploads=limit or Limit(1, "uploads"), **limits)
        self.headers, self.n_read, self.sent = list(headers), 0, []
        self.path, self.facts = path, RequestFacts(front=front_of(path, FRONTS))

    async def run(self, *bodies, hang=False):
        messages = [{"type": "http.request", "body": body, "more_body": True} for body in bodies]
        if not hang:
            messages.append({"type": "http.request", "body": b"", "more_body": False})

        async def receive():
            if not messages:
                await asyncio.Event().wait()
            self.n_read += 1
            return messages.pop(0)

        async def send(message):
            self.sent.append(message)

        scope = {"type": "http", "method": "POST", "path": self.path, "headers": self.headers}
        scope["state"] = {"facts": self.facts}
        await self.guard(scope, receive, send)
        return self.sent[0]["status"]


async def test_a_body_at_the_limit_passes():
    assert await Post().run(b"12345", b"67890") == 200


@pytest.mark.parametrize("app", [parts, swallows])
async def test_a_body_over_the_limit_is_refused_while_it_is_read(app):
    post = Post(app)
    assert await post.run(b"12345", b"678901", b"never read") == 413
    assert post.n_read == 2


async def test_an_announced_length_is_refused_before_anything_is_read():
    post = Post(headers=[(b"content-length", b"11")])
    assert await post.run(b"x") == 413
    assert post.n_read == 0


@pytest.mark.parametrize("length", [b"ten", b"-1", "١".encode(), b"1" * 5000])
async def test_a_length_that_is_none_is_no_crash(length):
    post = Post(headers=[(b"content-length", length)])
    assert await post.run(b"x") in (400, 413)


@pytest.mark.parametrize("app", [parts, swallows])
async def test_a_body_that_does_not_come_is_given_up(app):
    assert await Post(app, timeout=0.01).run(b"1", hang=True) == 408


@pytest.mark.parametrize("app", [parts, swallows])
async def test_a_body_that_trickles_in_is_given_up_long_before_its_time(app, monkeypatch):
    monkeypatch.setattr(limits, "PATIENCE", 0.01)
    post = Post(app, min_rate=1000.0)
    async with asyncio.timeout(10):
        assert await post.run(b"1", b"2", hang=True) == 408
    assert b"1,000 bytes a second" in post.sent[1]["body"]


async def test_only_waiting_for_the_client_counts_as_slow(monkeypatch):
    monkeypatch.setattr(limits, "PATIENCE", 0.05)

    async def reads_slowly(scope, receive, send):
        await receive()
        await asyncio.sleep(0.1)  # a disk that is busy, say
        await parts(scope, receive, send)

    assert await Post(reads_slowly, min_rate=1000.0).run(b"1", b"2") == 200


@pytest.mark.parametrize("app", [parts, swallows])
async def test_what_a_key_may_send_is_counted_while_it_comes(app):
    left = [7]

    def spend(n_bytes):
        left[0] -= n_bytes
        if left[0] < 0:
            raise RateLimited("too much", retry_after=3, limit=7, what="bytes")

    post = Post(app)
    post.facts.spend_bytes = spend
    assert await post.run(b"12345", b"678", b"never read") == 429
    assert dict(post.sent[0]["headers"])[b"retry-after"] == b"3"
    assert post.n_read == 2


@pytest.mark.parametrize(("size", "times"), [(WORTH_IT, 1), (WORTH_IT - 1, 0)])
async def test_memory_of_a_big_body_is_given_back(size, times, monkeypatch):
    given = []
    monkeypatch.setattr(limits, "give_back", lambda: given.append(1))
    assert await Post(max_bytes=WORTH_IT).run(bytes(size)) == 200
    await asyncio.get_running_loop().shutdown_default_executor()
    assert len(given) == times


async def test_more_uploads_than_allowed_are_told_at_once():
    limit = Limit(1, "uploads")
    with limit.admit():
        post = Post(limit=limit)
        assert await post.run(b"x") == 503
    headers = dict(post.sent[0]["headers"])
    assert int(headers[b"retry-after"]) >= 1
    assert post.n_read == 0


@pytest.mark.parametrize(("path", "status"), [("/transcribe", 503), ("/tokens", 200)])
async def test_a_file_that_would_wait_too_long_is_not_read(path, status, monkeypatch):
    admission = UploadAdmission(limit=1.0, n_together=1)
    monkeypatch.setattr(UploadAdmission, "wait", 2.0)
    post = Post(path=path, admission=admission)
    assert await post.run(b"x") == status
    assert (post.n_read == 0) == (status == 503)


async def test_a_place_is_free_again_after_a_refusal():
    limit = Limit(1, "uploads")
    await Post(limit=limit).run(b"x" * 11)
    assert limit.n_now == 0
    assert await Post(limit=limit).run(b"x") == 200


def test_a_place_is_free_again_after_a_failure():
    limit = Limit(1, "uploads")
    with pytest.raises(ValueError, match="x"), limit.admit():
        raise ValueError("x")
    with limit.admit(), pytest.raises(Overloaded), limit.admit():
        pass


def test_a_form_over_the_limit_is_a_413_in_the_one_shape(make_client):
    files = {"file": ("a.wav", wav(level(1, 10)))}
    response = make_client(max_upload_bytes=1000).post("/transcribe", files=files)
    assert response.status_code == 413
    assert response.json()["error"]["max_bytes"] == 1000


def test_a_form_of_unknown_length_over_the_limit_is_a_413_too(make_client):
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    response = make_client(max_upload_bytes=1000).post(
        "/transcribe",
        content=iter([head, *[b"x" * 500] * 9]),
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert response.status_code == 413


def test_work_that_takes_too_long_is_given_up(make_client, decoder):
    decoder.gate.clear()
    files = {"file": ("a.wav", wav(level(1)))}
    response = make_client(upload_timeout=0.5).post("/transcribe", files=files)
    assert (response.status_code, response.json()["error"]["limit"]) == (408, 0.5)
    assert decoder.n_now == 0


async def test_no_more_than_the_allowed_windows_are_in_flight(make_client, decoder, monkeypatch):
    files = {"file": ("a.wav", wav(level(1, 150)))}
    monkeypatch.setattr(transcription, "WINDOWS_IN_FLIGHT", 2)
    client = make_client()
    response = await asyncio.to_thread(client.post, "/transcribe", files=files)
    assert response.status_code == 200
    assert decoder.n_most <= 2
