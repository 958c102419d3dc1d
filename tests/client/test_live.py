"""What ends a live command: its source, Ctrl-C, a failure."""

import asyncio
import io
import os
import signal

import pytest

from tests.api.fakes import level
from whisper_service.client.display import Display
from whisper_service.client.failure import ClientFailure, ExitCode
from whisper_service.client.live import Listening, stream_live
from whisper_service.client.tape import Tape

CONFIG = {"chunk_duration": 1, "overlap": 0, "partial_interval": 0, "vad": False}


class Interrupting(Listening):
    """Somebody presses Ctrl-C as soon as the stream is ready."""

    def hear(self, message):
        super().hear(message)
        if message["type"] == "ready":
            os.kill(os.getpid(), signal.SIGINT)


async def run(service, source, listening=None):
    display = Display(io.StringIO(), is_live=False)
    listening = listening or Listening(display, display)
    url = f"ws://127.0.0.1:{service.port}/stream"
    await stream_live(url, CONFIG, source, Tape(16_000), listening, patience=5)
    return listening.transcript("transcribe")


async def test_ctrl_c_ends_the_recording_and_what_was_said_is_told(service):
    async def endless():
        yield level(11)
        await asyncio.Event().wait()

    display = Display(io.StringIO(), is_live=False)
    async with asyncio.timeout(20):
        transcript = await run(service, endless(), Interrupting(display, display))
    assert transcript.text == "level 11"


async def test_a_source_that_fails_ends_the_stream(service):
    async def failing():
        yield level(11)
        raise ClientFailure("the microphone is gone", ExitCode.UNREADABLE)

    async with asyncio.timeout(20):
        with pytest.raises(ClientFailure, match="the microphone is gone"):
            await run(service, failing())


async def test_the_transcript_has_what_the_service_said(service):
    async def short():
        yield level(11)

    transcript = await run(service, short())
    assert (transcript.text, transcript.language) == ("level 11", "en")
    assert transcript.duration == pytest.approx(1.0)
