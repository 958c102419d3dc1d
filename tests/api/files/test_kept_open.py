"""Answers that take long: something comes from the start, so that no proxy gives them up."""

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.api.fakes import PATIENCE, level, wav
from whisper_service.api.files import events
from whisper_service.errors import Overloaded

OURS, OPENAIS = "/transcribe", "/v1/audio/transcriptions"


@pytest.fixture
def app(make_app, decoder, monkeypatch):
    """Decodes nothing before the test says so."""
    monkeypatch.setattr(events, "FIRST_WAIT", 0.05)
    decoder.gate.clear()
    monkeypatch.setattr(events, "KEEPALIVE", 0.05)
    return make_app()


class Answer:
    """What came so far of an answer that is being made."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 0, httpx.Headers(), ""
        self.gone = asyncio.Event()
        self._news = asyncio.Event()

    async def send(self, message: dict) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], httpx.Headers(message["headers"])
        self.body += message.get("body", b"").decode()
        self._news.set()

    async def until(self, text: str, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.body.count(text) < times:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def asked(app, path, **fields):
    """POST a recording; at the end of the block the answer is whole."""
    if path == OPENAIS:
        fields = {"model": "base", **fields}
    files = {"file": ("a.wav", wav(level(7)))}
    request = httpx.Request("POST", f"http://test{path}", files=files, data=fields)
    parts = [{"type": "http.request", "body": request.read(), "more_body": False}]
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    answer = Answer()

    async def receive():
        if parts:
            return parts.pop()
        await answer.gone.wait()
        return {"type": "http.disconnect"}

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(app({**scope, "query_string": b""}, receive, answer.send))
        yield answer


@pytest.mark.parametrize("path", [OURS, OPENAIS])
async def test_a_streamed_answer_begins_at_once_and_comments_until_there_is_text(
    app, decoder, path
):
    async with asked(app, path, stream="true") as answer:
        await answer.until(": ", times=3)
        assert (answer.status, "data:" in answer.body) == (200, False)
        assert all(line.startswith(":") for line in answer.body.split("\r\n") if line)
        decoder.gate.set()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert "level 7" in answer.body


@pytest.mark.parametrize(("path", "code"), [(OURS, "overloaded"), (OPENAIS, "overloaded")])
async def test_what_goes_wrong_after_the_answer_began_is_an_event(app, decoder, path, code):
    decoder.failures = [Overloaded("The queue is full.")]
    async with asked(app, path, stream="true") as answer:
        await answer.until(": ")
        decoder.gate.set()
    assert answer.status == 200
    (data,) = [line for line in answer.body.split("\r\n") if line.startswith("data: ")]
    assert json.loads(data.removeprefix("data: "))["error"]["code"] == code


@pytest.mark.parametrize("path", [OURS, OPENAIS])
@pytest.mark.parametrize("response_format", ["json", "verbose_json"])
async def test_white_space_keeps_a_json_answer_open(app, decoder, path, response_format):
    form = {"keep_open": "true", "response_format": response_format}
    async with asked(app, path, **form) as answer:
        await answer.until(" ", times=3)
        assert (answer.status, answer.body.strip()) == (200, "")
        decoder.gate.set()
    assert json.loads(answer.body)["text"] == "level 7"
    assert answer.headers["content-type"] == "application/json"
    assert "content-length" not in answer.headers


@pytest.mark.parametrize("path", [OURS, OPENAIS])
@pytest.mark.parametrize(
    ("failure", "code"),
    [(Overloaded("The queue is full."), "overloaded"), (KeyError("a secret"), "internal_error")],
)
async def test_what_goes_wrong_after_the_white_space_is_told_in_the_body(
    app, decoder, path, failure, code
):
    decoder.failures = [failure]
    async with asked(app, path, keep_open="true") as answer:
        await answer.until(" ")
        decoder.gate.set()
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"]) == (200, code)
    assert ("param" in error) == (path == OPENAIS)  # each in the shape of its protocol
    assert "a secret" not in answer.body


@pytest.mark.parametrize("path", [OURS, OPENAIS])
async def test_a_quick_answer_has_its_status(make_app, decoder, path, monkeypatch):
    monkeypatch.setattr(events, "KEEPALIVE", PATIENCE)
    app = make_app()
    async with asked(app, path, keep_open="true") as answer:
        pass
    assert json.loads(answer.body)["text"] == "level 7"
    assert answer.headers["content-length"] == str(len(answer.body))
    decoder.failures = [Overloaded("The queue is full.", retry_after=3)]
    async with asked(app, path, keep_open="true") as answer:
        pass
    assert (answer.status, answer.headers["retry-after"]) == (503, "3")


async def test_who_leaves_an_answer_that_is_kept_open_costs_no_more_work(app, decoder, caplog):
    async with asked(app, OURS, keep_open="true") as answer:
        await answer.until(" ")
        answer.gone.set()
    assert (decoder.n_cancelled, decoder.n_now) == (1, 0)
    assert caplog.records == []


@pytest.mark.parametrize(("path", "status"), [(OURS, 422), (OPENAIS, 400)])
@pytest.mark.parametrize("response_format", ["text", "srt", "vtt"])
async def test_only_json_can_be_kept_open(app, path, status, response_format):
    form = {"keep_open": "true", "response_format": response_format}
    async with asked(app, path, **form) as answer:
        pass
    assert answer.status == status
    assert json.loads(answer.body)["error"]["param"] == "response_format"
