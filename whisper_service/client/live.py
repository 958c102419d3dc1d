"""The command `stream`: a source, a tape, a stream, a display, and the transcript at the end."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

from whisper_service.client.display import Display
from whisper_service.client.output import segment_of, transcript_of
from whisper_service.client.stream import LiveStream, Message
from whisper_service.client.tape import Tape
from whisper_service.types import Segment, Transcript


class Listening:
    """Shows messages as they come and keeps what becomes the transcript."""

    def __init__(self, display: Display, notes: Display) -> None:
        self._display = display
        self._notes = notes
        self._segments: list[Segment] = []
        self._summary: dict[str, Any] = {}
        self._has_begun = False

    def hear(self, message: Message) -> None:
        """Take any message of the service."""
        match message["type"]:
            case "ready" if not self._has_begun:
                self._has_begun = True
                self._display.status("listening …")
            case "ready":
                self._note("connected again; nothing is lost")
            case "partial":
                self._display.partial(message["stable"], message["unstable"])
            case "final":
                self._segments.append(segment_of(message))
                self._summary["language"] = message["language"]
                self._display.final(message["text"])
            case "warning":
                self._note(message["message"])
            case "done":
                self._summary["duration"] = message["duration"]
                self._display.clear()

    def transcript(self, task: str) -> Transcript:
        """All finals, of all connections."""
        return transcript_of(self._segments, self._summary, task=task)

    def _note(self, text: str) -> None:
        self._display.clear()
        self._notes.final(text)


async def stream_live(
    url: str,
    config: Message,
    source: AsyncGenerator[bytes, None],
    tape: Tape,
    listening: Listening,
    *,
    patience: float,
    key: str | None = None,
) -> None:
    """Stream `source` until it ends or Ctrl-C says so; then what is left becomes final, too."""
    stream = LiveStream(url, config, tape, patience=patience, key=key)
    async with _Interrupts(tape):
        recording = asyncio.create_task(_record(source, tape))
        conversing = asyncio.create_task(stream.run(listening.hear))
        try:
            await asyncio.wait({recording, conversing}, return_when=asyncio.FIRST_COMPLETED)
            if recording.done():
                recording.result()  # a source that failed ends it all
            await conversing
        finally:
            for task in (recording, conversing):
                task.cancel()
            await asyncio.gather(recording, conversing, return_exceptions=True)


async def _record(source: AsyncGenerator[bytes, None], tape: Tape) -> None:
    async with aclosing(source) as frames:
        async for frame in frames:
            tape.append(frame)
            if tape.has_ended:
                break
    tape.stop()


class _Interrupts:
    """The first Ctrl-C ends the recording, the second one the command."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> None:
        with suppress(NotImplementedError, ValueError, RuntimeError):  # Windows; not main thread
            self._loop.add_signal_handler(signal.SIGINT, self._first)

    async def __aexit__(self, *_: object) -> None:
        self._restore()

    def _first(self) -> None:
        self._restore()
        self._tape.stop()

    def _restore(self) -> None:
        with suppress(NotImplementedError, ValueError, RuntimeError):
            self._loop.remove_signal_handler(signal.SIGINT)
