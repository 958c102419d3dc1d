"""Where live audio comes from: a file at the pace of speech, raw bytes from a pipe, a microphone.

Each source is an asynchronous stream of bytes in the format that the service was told.
"""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import BinaryIO

from whisper_service.audio.decode import DecodeLimits, open_audio
from whisper_service.audio.ffmpeg import find_ffmpeg
from whisper_service.client.failure import ClientFailure, ExitCode
from whisper_service.errors import ServiceError
from whisper_service.types import SAMPLE_RATE, Audio

FRAME_SECONDS = 0.2
"""What one message carries: Serve's cost is per message, and 0.2 s is not felt as a delay."""
FILE_RATE = SAMPLE_RATE
_LIMITS = DecodeLimits(max_seconds=7 * 24 * 3600, min_seconds=0.0, timeout=60.0)
"""A week: a file of one's own is as long as it is; ffmpeg gets a minute to give a first sample."""
_MICROPHONES = {"linux": "pulse:default", "darwin": "avfoundation::0", "win32": "dshow:audio="}
"""ffmpeg's input format and device, by platform; Windows has no default device."""
_PIPE_BYTES = 64 * 1024


async def file_frames(path: Path, speed: float) -> AsyncGenerator[bytes, None]:
    """Yield a file as 16 kHz mono s16le, `speed` times as fast as it was spoken."""
    step = round(FRAME_SECONDS * SAMPLE_RATE)
    clock = asyncio.get_running_loop().time
    began, n_samples = clock(), 0
    async with aclosing(_samples(path)) as blocks:
        async for block in blocks:
            for start in range(0, len(block), step):
                frame = block[start : start + step]
                n_samples += len(frame)
                # a microphone has a frame when it was spoken, not when it began to be
                await asyncio.sleep(began + n_samples / SAMPLE_RATE / speed - clock())
                yield to_s16le(frame)


async def _samples(path: Path) -> AsyncGenerator[Audio, None]:
    try:
        with path.open("rb") as file:
            async with open_audio(file, _LIMITS) as audio:
                async for block in audio.blocks():
                    yield block
    except OSError as error:
        raise ClientFailure(f"{path}: {error.strerror}.", ExitCode.UNREADABLE) from None
    except ServiceError as error:
        raise ClientFailure(f"{path}: {error.message}", ExitCode.UNREADABLE) from None


def to_s16le(samples: Audio) -> bytes:
    """Samples as the bytes of `pcm_s16le`."""
    return (samples * 32767).clip(-32768, 32767).astype("<i2").tobytes()


async def pipe_frames(pipe: BinaryIO | None = None) -> AsyncGenerator[bytes, None]:
    """Yield a pipe as it comes: standard input, if none is named."""
    pipe = pipe or sys.stdin.buffer
    if not (pipe.isatty() or _is_pipe(pipe)):  # a regular file, as in `< audio.raw`: never waits
        while data := await asyncio.to_thread(pipe.read, _PIPE_BYTES):
            yield data
        return
    reader = asyncio.StreamReader(limit=_PIPE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    while data := await reader.read(_PIPE_BYTES):
        yield data


def _is_pipe(file: BinaryIO) -> bool:
    mode = os.fstat(file.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


async def microphone_frames(device: str) -> AsyncGenerator[bytes, None]:
    """Yield the microphone as 16 kHz mono s16le, read by ffmpeg."""
    command = microphone_command(await asyncio.to_thread(find_ffmpeg), device, sys.platform)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us: it ends the recording, not the text
    )
    assert process.stdout is not None
    assert process.stderr is not None
    has_audio = False
    try:
        while data := await process.stdout.read(_PIPE_BYTES):
            has_audio = True
            yield data
        if not has_audio:
            said = (await process.stderr.read(_PIPE_BYTES)).decode("utf-8", "replace").strip()
            raise ClientFailure(
                f"The microphone {device!r} cannot be read: {said or 'ffmpeg gave no reason'}."
                " Name another as FORMAT:DEVICE, for example --mic alsa:default.",
                ExitCode.UNREADABLE,
            )
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def microphone_command(ffmpeg: str, device: str, platform: str) -> list[str]:
    """Return the command that writes the microphone to stdout.

    `device`: `default`, or ffmpeg's input format and device as FORMAT:DEVICE.
    """
    if device == "default":
        device = _MICROPHONES.get(platform, "alsa:default")
    kind, _, name = device.partition(":")
    # fmt: off
    return [
        ffmpeg, "-nostdin", "-hide_banner", "-loglevel", "error",
        "-f", kind, "-i", name,
        "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", "-flush_packets", "1", "pipe:1",
    ]
    # fmt: on


def silent_byte(encoding: str) -> bytes:
    """Return the byte that silence is made of."""
    return {"mulaw": b"\xff", "alaw": b"\xd5"}.get(encoding, b"\0")


def sample_bytes(encoding: str) -> int:
    """Return how many bytes a sample of one channel has."""
    return {"pcm_s16le": 2, "pcm_f32le": 4}.get(encoding, 1)
