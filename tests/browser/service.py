"""A service that speaks the protocol by script: what the page sends is kept, what it hears is set.

It knows no speech: every half second of a stream is one final, every file has the same segments.
So a test can say what must be on the page to the letter, and make the service fail on purpose.
"""

import asyncio
import io
import itertools
import json
import re
import threading
import time
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, JSONResponse, Response
from sse_starlette import EventSourceResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from whisper_service.api.page import content_security_policy
from whisper_service.languages import LANGUAGES

PAGE = Path(__file__).parents[2] / "whisper_client.html"
WORDS = ("Nine", "four", "seven", "two")


def tone(seconds: float, sample_rate: int = 16_000) -> bytes:
    """A wav of beeps, half a second on and half a second off: never silent for long."""
    t = np.arange(int(seconds * sample_rate)) / sample_rate
    samples = 0.4 * np.sin(2 * np.pi * 440 * t) * (t % 1.0 < 0.5)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return out.getvalue()


@dataclass
class Stream:
    """One socket as the service saw it."""

    config: dict[str, Any]
    offset: float = 0.0
    """Seconds into an earlier stream at which it goes on."""
    audio: bytearray = field(default_factory=bytearray)
    messages: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return len(self.audio) / 2 / self.config["sample_rate"]

    @property
    def loudness(self) -> float:
        """Root mean square, full scale is 1."""
        samples = np.frombuffer(bytes(self.audio), "<i2").astype(np.float64) / 32768
        return float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0


@dataclass
class Script:
    """What the service does wrong, and what it saw."""

    stream_error: dict[str, Any] | None = None
    """Said instead of `ready`."""
    stream_denial: JSONResponse | None = None
    """The answer to a handshake, instead of a socket."""
    stream_reason: JSONResponse | None = None
    """What a page is told that asks why."""
    break_at: float | None = None
    """Seconds of the first stream after which its socket is cut."""
    refuses_tokens: bool = False
    lag: float | None = None
    upload_error: Response | None = None
    segment_pause: float = 0.0
    """Between the segments of a file, so that a test can act in the middle."""
    segment_seconds: float = 0.5
    """Of a stream's audio to a final; three partials come within."""
    key: str | None = None
    """What the service asks for, where it asks for a key."""
    warnings: list[dict[str, str]] = field(default_factory=list)
    """Of `GET /stats`."""
    tokens: list[str] = field(default_factory=list)
    """Handed out; each opens one socket."""
    addresses: list[str] = field(default_factory=list)
    """All that was asked for, as an access log has it."""
    streams: list[Stream] = field(default_factory=list)
    uploads: list[dict[str, Any]] = field(default_factory=list)
    finals_at_once: int = 1
    final_texts: list[str] = field(default_factory=list)
    """Of the next finals; then, and by default, each has its number."""
    partial_mark: str = ""
    """What every partial begins with: the mark of the final before it."""


def split_words(text: str) -> list[str]:
    """As the service times them: a mark that came late is one by itself."""
    return re.findall(r"^[,.?]|\S+", text)


class ScriptedStream:
    """The server's side of one socket."""

    def __init__(self, socket: WebSocket, script: Script) -> None:
        self.socket = socket
        self.script = script
        self.seq = itertools.count()
        self.next_id = 0
        self.settled = 0.0
        self.offset = 0.0

    async def run(self) -> None:
        await self.socket.accept(next(iter(self.socket.scope["subprotocols"]), None))
        first = await self.socket.receive_json()
        if "resume" in first:
            token = json.loads(first["resume"])
            if self.script.refuses_tokens:
                await self.fail(1008, code="invalid_resume_token", message="Unknown token.")
                return
            self.offset = self.settled = token["offset"]
            self.next_id = token["next_id"]
            first = token["config"]
        self.stream = Stream(first, self.offset)
        self.script.streams.append(self.stream)
        if self.script.stream_error:
            await self.fail(1013, **self.script.stream_error)
            return
        await self.send(
            "ready", session_id="s", config=first, offset=self.offset, resume=self.token()
        )
        await self.listen()

    async def listen(self) -> None:
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes"):
                await self.hear(message["bytes"])
                if self.script.break_at and self.stream.seconds >= self.script.break_at:
                    self.script.break_at = None
                    await self.socket.close(1012)
                    return
            else:
                kind = json.loads(message["text"])["type"]
                self.stream.messages.append(kind)
                if kind == "finalize":
                    await self.final()
                if kind == "stop":
                    await self.finish()
                    return

    @property
    def position(self) -> float:
        return self.offset + self.stream.seconds

    async def hear(self, audio: bytes) -> None:
        before = int(self.position / self.script.segment_seconds * 4)
        self.stream.audio += audio
        after = int(self.position / self.script.segment_seconds * 4)
        if after == before:
            return
        if before == 0:
            await self.send("speech_started", at=0.2)
        if self.script.lag:
            await self.send(
                "warning", code="falling_behind", lag=self.script.lag, message="Falling behind."
            )
        if after % 4 == 0:
            for _ in range(self.script.finals_at_once):
                await self.final()
        else:
            words = WORDS[: after % 4]
            mark = self.script.partial_mark
            await self.send(
                "partial",
                start=self.settled,
                end=self.position,
                text=f"{mark} {' '.join(words)}",
                stable=f"{mark} {' '.join(words[:-1])}" if words[1:] else "",
                unstable=f" {words[-1]}" if words[1:] else f"{mark} {words[-1]}",
            )

    async def final(self) -> None:
        start, self.settled = self.settled, self.position
        text = f" {' '.join(WORDS)} <b>{self.next_id}</b>."
        if self.script.final_texts:
            text = self.script.final_texts.pop(0)
        self.next_id += 1
        spoken = split_words(text)
        step = (self.settled - start) / len(spoken)
        words = [
            {"word": word, "start": start + i * step, "end": start + (i + 1) * step}
            for i, word in enumerate(spoken)
        ]
        await self.send(
            "final",
            id=self.next_id - 1,
            start=start,
            end=self.settled,
            text=text,
            language="en",
            avg_logprob=-0.2,
            no_speech_prob=0.01,
            resume=self.token(),
            **({"words": words} if self.stream.config["word_timestamps"] else {}),
        )

    async def finish(self) -> None:
        if self.position > self.settled:
            await self.final()
        await self.send("speech_ended", at=self.position)
        await self.send("done", duration=self.position, text="")
        await self.socket.close(1000)

    def token(self) -> str:
        state = {"offset": self.settled, "next_id": self.next_id, "config": self.stream.config}
        return json.dumps(state)

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send_json({"type": kind, "seq": next(self.seq), **fields})

    async def fail(self, close_code: int, **error: Any) -> None:
        await self.send("error", **error)
        await self.socket.close(close_code)


SEGMENTS = [
    {"id": 0, "start": 0.0, "end": 1.0, "text": " Nine four.", "words": [
        {"word": "Nine", "start": 0.0, "end": 0.5, "probability": 0.9},
        {"word": "four.", "start": 0.5, "end": 1.0, "probability": 0.9}]},
    {"id": 1, "start": 1.0, "end": 2.0, "text": " Seven --> <i>two</i>."},
    {"id": 2, "start": 2.0, "end": 3.0, "text": " Fünf, acht."},
]  # fmt: skip


async def transcript_events(script: Script) -> AsyncIterator[dict[str, str]]:
    """A file's answer; the duration comes late, as with containers that do not say it."""
    yield _event("language", {"language": "de", "language_probability": 0.98})
    for segment in SEGMENTS:
        yield _event("segment", segment)
        yield _event("progress", {"position": segment["end"], "duration": 3.0})
        await asyncio.sleep(script.segment_pause)
    text = "".join(str(segment["text"]) for segment in SEGMENTS).strip()
    yield _event("done", {"text": text, "language": "de", "duration": 3.0, "warnings": []})


def _event(name: str, data: object) -> dict[str, str]:
    return {"event": name, "data": json.dumps(data)}


class KeyCheck:
    """Lets in who has the script's key, or a token of it, as the service does."""

    def __init__(self, app: ASGIApp, script: Script) -> None:
        self.app = app
        self.script = script

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        self.script.addresses.append(f"{scope['path']}?{scope['query_string'].decode()}")
        if self.is_open(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).close()
        else:
            error = {"code": "unauthorized", "message": "The API key is not known here."}
            await JSONResponse({"error": error}, 401)(scope, receive, send)

    def is_open(self, scope: Scope) -> bool:
        if self.script.key is None or scope["path"] in ("/", "/readyz", "/sample.wav"):
            return True
        if scope["type"] == "websocket":
            ours, _, token = ".".join(scope["subprotocols"]).partition(".bearer.")
            return ours == "whisper-streaming" and token in self.script.tokens
        return Headers(scope=scope).get("authorization") == f"Bearer {self.script.key}"


def scripted_app(script: Script) -> FastAPI:
    """All addresses that the page uses."""
    app = FastAPI()
    app.add_middleware(KeyCheck, script=script)
    app.add_middleware(
        CORSMiddleware, allow_origins=["null"], allow_methods=["*"], allow_headers=["*"]
    )

    @app.get("/")
    async def page() -> HTMLResponse:
        html = PAGE.read_text(encoding="utf-8")
        headers = {"Content-Security-Policy": content_security_policy(html)}
        return HTMLResponse(html, headers=headers)

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @app.get("/models")
    async def models() -> dict[str, Any]:
        def model(name: str, n_parameters: int, *, here: bool, can_download: bool) -> object:
            return {
                "name": name,
                "is_multilingual": not name.endswith(".en"),
                "n_parameters": n_parameters,
                "memory_bytes": None,
                "has_weights": here,
                "is_loaded": here,
                "can_download": can_download,
                "path": f"/models/{name}.pt",
            }

        return {
            "default": "demo",
            "models": [
                model("demo", 9_000_000, here=True, can_download=False),
                model("tiny.en", 39_000_000, here=False, can_download=True),
                model("large-v3", 1_550_000_000, here=False, can_download=False),
            ],
        }

    @app.get("/languages")
    async def languages() -> dict[str, Any]:
        return {"languages": [{"code": code, "name": name} for code, name in LANGUAGES.items()]}

    @app.get("/stats")
    async def stats() -> dict[str, Any]:
        return {"warnings": script.warnings}

    @app.post("/tokens")
    async def tokens(request: Request) -> dict[str, Any]:
        script.tokens.append(f"ek_{len(script.tokens)}")
        wanted = await request.json()
        return {"token": script.tokens[-1], "expires_at": int(time.time()) + wanted["expires_in"]}

    @app.get("/sample.wav")
    async def sample() -> Response:
        return Response(tone(1.5), media_type="audio/wav")

    @app.post("/transcribe")
    async def transcribe(request: Request) -> Response:
        async with request.form() as form:
            fields: dict[str, Any] = {k: v for k, v in form.items() if isinstance(v, str)}
            upload = form["file"]
            assert not isinstance(upload, str)
            fields["file"] = (upload.filename, len(await upload.read()))
        script.uploads.append(fields)
        return script.upload_error or EventSourceResponse(transcript_events(script))

    @app.get("/stream")
    async def no_socket() -> JSONResponse:
        return script.stream_reason or JSONResponse({}, 426)

    @app.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        if script.stream_denial:
            await socket.send_denial_response(script.stream_denial)
            return
        try:
            await ScriptedStream(socket, script).run()
        except WebSocketDisconnect:
            pass

    return app


class QuietServer(uvicorn.Server):
    """Runs in a thread, which may not install signal handlers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def serve(app: FastAPI, port: int = 0) -> Iterator[str]:
    """Serve `app` on a free port, or on one given; the address."""
    config = uvicorn.Config(
        app,
        port=port,
        log_level="warning",
        ws="websockets-sansio",
        timeout_graceful_shutdown=1,
    )
    server = QuietServer(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert thread.is_alive(), "the scripted service did not start"
        assert time.monotonic() < deadline, "the scripted service took too long to start"
        time.sleep(0.01)
    try:
        yield f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)
