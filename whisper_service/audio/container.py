"""A container as a live stream: bytes cut anywhere in, 16 kHz mono samples out as soon as possible.

What a browser's MediaRecorder or ffmpeg sends (webm, ogg, mp3, fragmented mp4, adts aac), decoded
by an ffmpeg of its own behind the same fence as files. Owns no limit on the length: that is the
stream's. Bounded by pipes: who feeds waits for ffmpeg, ffmpeg waits for who reads.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from whisper_service.audio.decode import no_audio
from whisper_service.audio.ffmpeg_process import FfmpegProcess, run_ffmpeg
from whisper_service.audio.pcm import PcmReader
from whisper_service.audio.timeline import Timeline
from whisper_service.errors import UndecodableAudio
from whisper_service.types import SAMPLE_RATE, Audio, PcmFormat

_MAX_GAP_SECONDS = 30
"""Live, nobody waits longer for sound that was lost on the way; and a few bytes that claim an
hour's gap would have an hour of silence looked through."""
_BLOCK_BYTES = 64 * 1024
"""2 s: what ffmpeg had ready at once, or a part of a gap."""

_log = logging.getLogger(__name__)


class Container:
    """`open_container` makes it. One task feeds, another one reads."""

    def __init__(self, ffmpeg: FfmpegProcess) -> None:
        self._ffmpeg = ffmpeg
        self._reader = PcmReader(PcmFormat())
        self._n_bytes = 0
        self._n_samples = 0
        self._has_ended = False

    async def feed(self, data: bytes) -> None:
        """Take the next bytes, once there is room."""
        self._n_bytes += len(data)
        await self._ffmpeg.feed(data)

    def end(self) -> None:
        """No more comes; `blocks` ends after what is still in ffmpeg."""
        self._has_ended = True
        self._ffmpeg.end_input()

    async def blocks(self) -> AsyncGenerator[Audio, None]:
        """Yield samples as they come; to be used once.

        Ends after `end`, and where the container ends itself. Raises `UndecodableAudio` and
        `NoAudioTrack` where it holds no sound that can be decoded, `UndecodableAudio` where it
        becomes unreadable, `TimedOut` where ffmpeg does not come to its end.
        """
        timeline: Timeline | None = None
        while data := await self._ffmpeg.read():
            if timeline is None:
                await self._ffmpeg.wait_for_header()  # told before any sound
                container = self._ffmpeg.log.container
                timeline = Timeline(container, max_gap_seconds=_MAX_GAP_SECONDS)
            timeline.feed(data)
            while data := timeline.take(_BLOCK_BYTES):
                samples = self._reader.read(data)
                self._n_samples += len(samples)
                yield samples
        self._judge(await self._ffmpeg.wait())

    def _judge(self, status: int) -> None:
        log = self._ffmpeg.log
        if not self._n_bytes or (self._n_samples and (self._has_ended or not status)):
            return
        _log.info("ffmpeg left a stream (status %d): %s", status, " | ".join(log.tail))
        if self._n_samples:
            raise UndecodableAudio(
                f"The container cannot be read on after {self._n_samples / SAMPLE_RATE:.1f} s;"
                " send one recording from its beginning, its bytes in order."
            )
        if log.lacks_index or log.is_index_last:
            raise UndecodableAudio(
                "The stream cannot be decoded: it is an mp4 whose index (moov) comes after its"
                " sound. Send it as a file, or write it with its index first (ffmpeg: -movflags"
                " +faststart) or in fragments."
            )
        raise no_audio(log)


@asynccontextmanager
async def open_container(*, max_wait: float, cpu_seconds: float) -> AsyncIterator[Container]:
    """Start to decode; leave the block at any time: ffmpeg is killed and reaped then."""
    async with run_ffmpeg(None, max_wait=max_wait, cpu_seconds=cpu_seconds) as ffmpeg:
        yield Container(ffmpeg)
