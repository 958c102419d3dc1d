"""Uploads and live streams that go on until they are told to stop, and what came of each.

The clients do what a user's client should: an upload is sent again when its connection breaks or
the service asks for it, and a stream comes back with its resume token.
"""

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx

from benchmarks.speech_track import BYTES_PER_SECOND, as_wav, bare_words, make_track, n_errors
from whisper_service.client.failure import ClientFailure
from whisper_service.client.stream import LiveStream
from whisper_service.client.tape import Tape
from whisper_service.types import SAMPLE_RATE

CONFIG = {"language": "en", "partial_interval": 1.0, "use_context": False}
"""Without context, so that a word depends on its own sound alone, not on where decodes began."""
FIELDS = {"language": "en", "temperature": "0"}
"""Of an upload. Its words repeat, which a decoder takes for a loop and tries other temperatures."""
SPOKEN = make_track(1)
"""One recording and a pause; a stream says it again and again."""
UPLOADED = make_track(25)
"""About one window."""
PATIENCE = 60.0
"""Seconds a client tries to connect again, and an upload may take."""
_UPLOAD_EVERY = 3.0
"""Seconds from one upload of a client to its next, unless the first takes longer. Clients that
never rest would keep every core busy by themselves, and any fault would look like a stall."""
_FRAME_SECONDS = 0.2
_STAGGER = 0.37
"""Seconds between two streams' beginnings, so that they do not breathe in step."""
_PAUSE = 0.2
"""Seconds until an upload whose connection broke is sent again."""


@dataclass(slots=True)
class Upload:
    """One file, until it was transcribed. Times in seconds of the monotonic clock."""

    began: float
    ended: float = 0.0
    text: str = ""
    n_broken: int = 0
    """Times its connection broke."""
    n_refused: int = 0
    """Times it was told to come again, by a 429 or 503 with `Retry-After`."""
    failure: str | None = None


@dataclass(slots=True)
class Stream:
    """One live stream."""

    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    """Each with when it came."""
    n_said: int = 0
    """Times the recording was said."""
    n_resumed: int = 0
    failure: str | None = None

    @property
    def is_broken(self) -> bool:
        """Whether it failed, did not end with `done`, or numbers its finals other than 0, 1, 2."""
        is_done = bool(self.messages) and self.messages[-1][1]["type"] == "done"
        numbers = [final["id"] for final in self._finals()]
        return bool(self.failure) or not is_done or numbers != list(range(len(numbers)))

    @property
    def n_word_errors(self) -> int:
        """Words lost, doubled or wrong."""
        finals = self._finals()
        heard = bare_words("".join(final["text"] for final in finals))
        return n_errors(bare_words(" ".join(SPOKEN.words)) * self.n_said, heard)

    def longest_silence(self, since: float) -> float:
        """Seconds between two messages, one of them after `since`, in which nothing came."""
        times = [at for at, _ in self.messages]
        return max(
            (after - before for before, after in pairwise(times) if after > since), default=0.0
        )

    def _finals(self) -> list[dict[str, Any]]:
        return [message for _, message in self.messages if message["type"] == "final"]


class SteadyLoad:
    """Load for as long as a `with` block lasts, from a thread of its own.

    The block's end waits for what is on its way: uploads for their answer, streams for `done`.
    """

    def __init__(self, port: int, n_uploads: int, n_streams: int) -> None:
        """`n_uploads`: clients that send a file every few seconds."""
        self._port = port
        self._n_uploads = n_uploads
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.uploads: list[Upload] = []
        self.streams = [Stream() for _ in range(n_streams)]

    def __enter__(self) -> "SteadyLoad":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        self._thread.join()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._n_uploads):
                group.create_task(self._keep_uploading())
            for number, stream in enumerate(self.streams):
                group.create_task(self._speak(stream, number * _STAGGER))

    @property
    def n_word_errors(self) -> int:
        """Words that streams lost, doubled or got wrong, in all."""
        return sum(stream.n_word_errors for stream in self.streams)

    @property
    def n_broken_streams(self) -> int:
        return sum(stream.is_broken for stream in self.streams)

    @property
    def n_resumed(self) -> int:
        """Times a stream had to connect again."""
        return sum(stream.n_resumed for stream in self.streams)

    @property
    def n_failed_uploads(self) -> int:
        """Answered with an error, not at all, or with another text than most."""
        texts = [upload.text for upload in self.uploads]
        return sum(text != max(set(texts), key=texts.count) for text in texts)

    async def _keep_uploading(self) -> None:
        wav = as_wav(UPLOADED.pcm)
        while not self._has_ended.is_set():
            due = time.monotonic() + _UPLOAD_EVERY
            upload = Upload(time.monotonic())
            self.uploads.append(upload)
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._send(upload, wav)
            except (TimeoutError, httpx.HTTPStatusError) as error:
                upload.failure = f"{type(error).__name__}: {error}"
            upload.ended = time.monotonic()
            await asyncio.sleep(due - time.monotonic())

    async def _send(self, upload: Upload, wav: bytes) -> None:
        url = f"http://127.0.0.1:{self._port}/transcribe"
        # A connection for each, so that they spread over the proxies as users do.
        while not upload.text:
            try:
                async with httpx.AsyncClient(timeout=PATIENCE) as client:
                    files = {"file": ("speech.wav", wav)}
                    answer = await client.post(url, files=files, data=FIELDS)
            except httpx.TransportError:
                upload.n_broken += 1
                await asyncio.sleep(_PAUSE)
                continue
            if answer.status_code in (429, 503) and "retry-after" in answer.headers:
                upload.n_refused += 1
                await asyncio.sleep(float(answer.headers["retry-after"]))
                continue
            answer.raise_for_status()
            upload.text = answer.json()["text"]

    async def _speak(self, stream: Stream, delay: float) -> None:
        await asyncio.sleep(delay)
        tape = Tape(SAMPLE_RATE)
        url = f"ws://127.0.0.1:{self._port}/stream"
        live = LiveStream(url, CONFIG, tape, patience=PATIENCE)
        speaking = asyncio.create_task(self._record(stream, tape))
        try:
            await live.run(lambda message: stream.messages.append((time.monotonic(), message)))
        except ClientFailure as failure:
            stream.failure = str(failure)
        stream.n_resumed = live.n_resumed
        speaking.cancel()
        with suppress(asyncio.CancelledError):
            await speaking

    async def _record(self, stream: Stream, tape: Tape) -> None:
        """Say the recording in real time until the load ends; whole, each time."""
        began, n_sent = time.monotonic(), 0
        step = int(_FRAME_SECONDS * BYTES_PER_SECOND)
        while not self._has_ended.is_set():
            stream.n_said += 1
            for start in range(0, len(SPOKEN.pcm), step):
                frame = SPOKEN.pcm[start : start + step]
                n_sent += len(frame)
                await asyncio.sleep(began + n_sent / BYTES_PER_SECOND - time.monotonic())
                tape.append(frame)
        tape.stop()
