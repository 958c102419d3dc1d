"""What the API's tests play with: a scripted decoder, audio with a known text, a bare socket."""

import asyncio
import io
import json
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from tests.policy.world import FakeDetector
from whisper_service.api.decoder import MODELS_MAX_AGE
from whisper_service.api.files import transcription
from whisper_service.types import (
    SAMPLE_RATE,
    Audio,
    DecodeJob,
    DecoderStats,
    Hypothesis,
    LanguageDetection,
    ModelStatus,
    Segment,
    Word,
)

PATIENCE = 60.0
"""Seconds after which a test that waits for something has failed."""


def hear_any_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """In files, as FakeDecoder does: Silero takes its levels for no speech."""
    monkeypatch.setattr(transcription, "SileroDetector", FakeDetector)


def model(name: str, **fields) -> ModelStatus:
    known = {
        "is_multilingual": not name.endswith(".en"),
        "n_parameters": 74_000_000,
        "memory_bytes": 10**9,
        "has_weights": True,
        "is_loaded": False,
        "can_download": True,
        "path": f"/models/{name}.pt",
    }
    return ModelStatus(name=name, **{**known, **fields})


class FakeDecoder:
    """Says "level N" for audio that is N/100 loud, which `level` makes."""

    def __init__(self) -> None:
        self.known = [model("base"), model("base.en"), model("small")]
        self.known.append(model("large", has_weights=False, can_download=False))
        self.remembered: list[ModelStatus] | None = None
        """What the models were a while ago, if that was something else."""
        self.jobs: list[DecodeJob] = []
        self.models_asked: list[str] = []
        self.failures: list[Exception] = []
        """Raised by the next decodes, one each."""
        self.answer: Callable[[DecodeJob], Hypothesis] = say_level
        self.gate = asyncio.Event()
        """Decodes wait for it; open unless a test closes it."""
        self.gate.set()
        self.begun = asyncio.Semaphore(0)
        """One for each decode that began: acquire it to wait for the next."""
        self.n_cancelled = 0
        self.n_now = 0
        self.n_most = 0
        self.health: Exception | None = None
        self.absence: Exception | None = None
        """Raised to work that comes; decodes wait for `gate`."""

    async def decode(self, model_size: str, job: DecodeJob) -> Hypothesis:
        self.jobs.append(job)
        self.models_asked.append(model_size)
        self.n_now += 1
        self.n_most = max(self.n_most, self.n_now)
        self.begun.release()
        try:
            await self.gate.wait()
            if self.failures:
                raise self.failures.pop(0)
            return self.answer(job)
        except asyncio.CancelledError:
            self.n_cancelled += 1
            raise
        finally:
            self.n_now -= 1

    async def detect_language(self, model_size: str, audio: Audio) -> LanguageDetection:
        self.models_asked.append(model_size)
        return LanguageDetection("de", 0.9, {f"x{n}": n / 1000 for n in range(20)} | {"de": 0.9})

    async def models(self, *, max_age: float = MODELS_MAX_AGE) -> list[ModelStatus]:
        if self.remembered is not None and max_age > MODELS_MAX_AGE:
            return self.remembered
        return self.known

    async def presence(self) -> None:
        if self.absence is not None:
            raise self.absence

    async def check(self) -> None:
        if self.health is not None:
            raise self.health

    async def stats(self) -> DecoderStats:
        if self.health is not None:
            raise self.health
        return DecoderStats("one", ("base",), self.n_now, len(self.jobs), (0.1, 0.3), 8)


def say(job: DecodeJob, text: str) -> Hypothesis:
    """A hypothesis of one segment that lasts as long as the job."""
    end = len(job.audio) / SAMPLE_RATE
    words = (Word(text, 0.0, end, 0.9),) if job.options.timestamps == "word" else ()
    return Hypothesis("en", 0.9, (Segment(0, 0.0, end, text, words=words),))


def say_level(job: DecodeJob) -> Hypothesis:
    """What FakeDecoder says unless it is told otherwise."""
    new = job.audio[-SAMPLE_RATE // 4 :] if job.prefix else job.audio
    return say(job, f" level {round(float(np.median(new)) * 100)}")


def level(number: int, seconds: float = 1.0) -> bytes:
    """16-bit PCM that FakeDecoder hears as "level `number`"."""
    samples = np.full(round(seconds * SAMPLE_RATE), round(number / 100 * 32768), dtype="<i2")
    return samples.tobytes()


def wav(pcm: bytes) -> bytes:
    """PCM in a RIFF file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(pcm)
    return file.getvalue()


class Socket:
    """The client's end of a WebSocket, straight on the application: no server, no thread."""

    def __init__(self) -> None:
        self.to_app: asyncio.Queue[dict] = asyncio.Queue()
        self.from_app: asyncio.Queue[dict] = asyncio.Queue()
        self.to_app.put_nowait({"type": "websocket.connect"})

    def send(self, data: str | bytes | dict) -> None:
        if isinstance(data, dict):
            data = json.dumps(data)
        kind = "text" if isinstance(data, str) else "bytes"
        self.to_app.put_nowait({"type": "websocket.receive", kind: data})

    def leave(self) -> None:
        self.to_app.put_nowait({"type": "websocket.disconnect", "code": 1005})

    async def raw(self) -> dict:
        async with asyncio.timeout(PATIENCE):
            return await self.from_app.get()

    async def receive(self) -> dict:
        """The next JSON message."""
        message = await self.raw()
        assert message["type"] == "websocket.send", message
        return json.loads(message["text"])

    async def until(self, kind: str) -> dict:
        """The next message of a type; the ones before it are dropped."""
        while (message := await self.receive())["type"] != kind:
            assert message["type"] != "error", message
        return message

    async def rest(self) -> list[dict]:
        """All messages up to the close; the close comes last."""
        messages = []
        while (message := await self.raw())["type"] == "websocket.send":
            messages.append(json.loads(message["text"]))
        return [*messages, message]


@asynccontextmanager
async def connect(
    app, first: str | bytes | dict | None = None, path: str = "/stream", query: str = ""
) -> AsyncIterator[Socket]:
    """Connect to a socket; at the end the application has to have finished by itself."""
    socket = Socket()
    scope = {
        "type": "websocket",
        "path": path,
        "headers": [],
        "query_string": query.encode(),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        serving = group.create_task(app(scope, socket.to_app.get, socket.from_app.put))
        if first is not None:
            socket.send(first)
            accepted = await socket.raw()
            assert accepted["type"] == "websocket.accept", accepted
        yield socket
        socket.leave()
        await serving
