"""One running ffmpeg: its bytes with back-pressure, its words, its time limits, its end.

Owns the process and nothing of what the bytes mean. The asyncio streams between hold at most two
blocks; with them and the pipe full, ffmpeg waits.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from whisper_service.audio.ffmpeg import (
    decode_command,
    decode_environment,
    fence,
    find_ffmpeg,
    live_command,
)
from whisper_service.audio.ffmpeg_log import FfmpegLog
from whisper_service.errors import TimedOut

_STREAM_LIMIT = 64 * 1024
"""Bytes, asyncio's default and the size of a pipe on Linux; twice this is held at the most."""


MAX_WAIT = 600.0
"""Seconds ffmpeg may go without giving any audio, and to end: for one that hangs, and far more than
the slowest file takes."""


class FfmpegProcess:
    """`run_ffmpeg` makes it. Every wait ends after `max_wait` seconds with TimedOut."""

    def __init__(self, process: asyncio.subprocess.Process, max_wait: float) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stdout = process.stdout
        self._stderr = process.stderr
        self._max_wait = max_wait
        self._header = asyncio.Event()
        self._log_end = asyncio.Event()
        self._has_input_ended = asyncio.Event()
        if process.stdin is None:
            self._has_input_ended.set()
        self.log = FfmpegLog()

    async def wait_for_header(self) -> None:
        """Return once `log` has what there is to know of the file before its audio."""
        async with self._time_limit("to recognise the file"):
            await self._header.wait()

    async def read(self) -> bytes:
        """Return the next output, at most `_STREAM_LIMIT` bytes; b"" at its end.

        Waits as long as the input stays open: whoever feeds it may pause.
        """
        if self._has_input_ended.is_set():
            async with self._time_limit("without decoding any audio"):
                return await self._stdout.read(_STREAM_LIMIT)
        reading = asyncio.ensure_future(self._stdout.read(_STREAM_LIMIT))
        ending = asyncio.ensure_future(self._has_input_ended.wait())
        try:
            await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
            async with self._time_limit("without decoding any audio"):
                return await reading
        finally:
            ending.cancel()
            reading.cancel()

    async def feed(self, data: bytes) -> None:
        """Give input, once there is room for it; what comes after ffmpeg has ended is dropped."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    def end_input(self) -> None:
        """Let ffmpeg come to its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._has_input_ended.set()

    async def wait(self) -> int:
        """Return the exit status after the output has ended; `log` is complete then."""
        async with self._time_limit("to end"):
            await self._log_end.wait()
            return await self._process.wait()

    async def follow_log(self) -> None:
        """Read stderr to its end, so that ffmpeg never waits for room in that pipe."""
        while data := await self._stderr.read(_STREAM_LIMIT):
            self.log.feed(data)
            if self.log.has_duration_line:
                self._header.set()
        self._header.set()
        self._log_end.set()

    async def drain(self) -> None:
        """Throw away the rest of the output of a killed process, at most what the pipes hold.

        asyncio lets go of a child only when it has seen the end of its pipes.
        """
        while await self._stdout.read(_STREAM_LIMIT):
            pass
        await self._process.wait()

    @asynccontextmanager
    async def _time_limit(self, doing: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._max_wait):
                yield
        except TimeoutError:
            raise TimedOut(
                f"Decoding the file took more than {self._max_wait:g} s {doing}.",
                limit=self._max_wait,
            ) from None


@asynccontextmanager
async def run_ffmpeg(
    fd: int | None,
    *,
    max_wait: float,
    cpu_seconds: float,
    track: int | None = None,
    decoder: str | None = None,
) -> AsyncIterator[FfmpegProcess]:
    """Decode the open file `fd`, or what is fed; the process is gone when the block is left,
    whatever happened. Of a file, `track` and `decoder` are as in `decode_command`."""
    ffmpeg = await asyncio.to_thread(find_ffmpeg)
    if fd is None:
        command = live_command(ffmpeg)
    else:
        command = decode_command(ffmpeg, fd, track=track, decoder=decoder)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE if fd is None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_STREAM_LIMIT,
        pass_fds=() if fd is None else (fd,),
        env=decode_environment(),
        start_new_session=True,  # Ctrl-C in the terminal is for us to handle
    )
    running = FfmpegProcess(process, max_wait)
    # Not in a TaskGroup: that would wrap the errors of the caller's block into groups.
    log_task = asyncio.create_task(running.follow_log())
    try:
        fence(process.pid, cpu_seconds=cpu_seconds)
        yield running
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        if process.stdin is not None:
            process.stdin.close()
        await running.drain()
        await log_task
