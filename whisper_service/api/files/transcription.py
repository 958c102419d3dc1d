"""Drives a `FilePlan` from an upload to its segments: the one path of every file.

Used by whole answers, by streamed ones, and by whatever protocol is spoken on top. Knows no HTTP:
it is given a file, and reports its progress by a callback.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from whisper_service.api.decoder import Decoder
from whisper_service.api.files.admission import UploadAdmission
from whisper_service.api.http.limits import time_is_up
from whisper_service.api.metrics import Metrics
from whisper_service.api.tasks import task_group
from whisper_service.audio.decode import AudioFile, DecodeLimits, open_audio
from whisper_service.audio.ffmpeg_process import MAX_WAIT
from whisper_service.audio.vad import SileroDetector
from whisper_service.policy.file_plan import FilePlan
from whisper_service.settings import Settings
from whisper_service.types import (
    Audio,
    DecodeJob,
    DecodeOptions,
    FileOptions,
    Hypothesis,
    LanguageDetection,
    Segment,
    Transcript,
)

NO_SPEECH = "No speech was heard in the audio."
"""The warning of a transcript without any."""
MAX_FFMPEG = 16
"""ffmpeg processes of a replica at once. A long upload keeps one, mostly idle, until its last audio
is wanted; more uploads than this wait for each other."""
WINDOWS_IN_FLIGHT = 8
"""Windows of one upload that are decoded side by side: a lone one fills the usual batch, and none
crowds out the others."""
MIN_SECONDS = 0.1
"""Shortest audio of an upload: less holds no word."""

T = TypeVar("T")

Blocks = AsyncGenerator[Audio, None]
Decode = Callable[[DecodeJob], Awaitable[Hypothesis]]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file is. `segments` are those finished since the last one, in order."""

    segments: tuple[Segment, ...]
    language: str | None
    language_probability: float
    position: float
    """Seconds whose text is final."""
    duration: float | None
    """Seconds in all, as far as is known."""


@dataclass(frozen=True, slots=True)
class Detected:
    """What language a file was found to be in; None where nobody speaks in it."""

    detection: LanguageDetection | None
    warnings: tuple[str, ...]


Report = Callable[[Progress], Awaitable[None]]


async def drive(
    plan: FilePlan,
    blocks: Blocks,
    decode: Decode,
    report: Callable[[list[Segment]], Awaitable[None]],
) -> None:
    """Feed `plan` until it is done: audio in, jobs out side by side, segments out in order.

    Reads ahead only as far as the plan wants, which bounds memory whatever the file's length.
    """
    moved = asyncio.Event()

    async def answer(job: DecodeJob) -> None:
        plan.receive_hypothesis(job, await decode(job))
        moved.set()

    async with task_group() as group, aclosing(blocks):
        while not plan.is_done:
            while (job := plan.next_job()) is not None:
                group.create_task(answer(job))
            if segments := plan.segments():
                await report(segments)
            elif plan.wants_audio:
                await _feed(plan, blocks)
            elif not plan.is_done:
                await moved.wait()
                moved.clear()
        if segments := plan.segments():
            await report(segments)


async def _feed(plan: FilePlan, blocks: Blocks) -> None:
    block = await anext(blocks, None)
    if block is None:
        plan.end_of_audio()
    else:
        plan.receive_audio(block)


class Transcriber:
    """What a replica needs for every upload: the decoder, the limits, the permits for ffmpeg.

    `queue` knows how long another upload would wait.
    """

    def __init__(
        self,
        settings: Settings,
        decoder: Decoder,
        metrics: Metrics | None = None,
        max_ffmpeg: int = MAX_FFMPEG,
    ) -> None:
        self._settings = settings
        self._decoder = decoder
        self.admission = UploadAdmission(
            settings.upload_admission_wait, settings.max_batch_size, metrics
        )
        self._ffmpeg = asyncio.Semaphore(max_ffmpeg)

    async def transcribe(
        self,
        file: BinaryIO,
        model_size: str,
        options: FileOptions,
        deadline: float,
        report: Report | None = None,
    ) -> Transcript:
        """The whole transcript; `report` gets every segment before.

        `file` has to be a real one, with a descriptor. Raises `InvalidAudio`, `AudioTooLong`,
        `InvalidParameter` for the track, `TimedOut` at `deadline` (event loop time), and what the
        decoder raises, `Unavailable` where there is none.
        """
        return await self._while_available(
            self._transcribe(file, model_size, options, deadline, report)
        )

    async def _transcribe(
        self,
        file: BinaryIO,
        model_size: str,
        options: FileOptions,
        deadline: float,
        report: Report | None,
    ) -> Transcript:
        plan = FilePlan(
            options.decode,
            max_in_flight=WINDOWS_IN_FLIGHT,
            detector=SileroDetector() if options.vad_filter else None,
            multilingual=options.multilingual,
        )
        done: list[Segment] = []

        with self.admission.upload() as upload:

            async def decode(job: DecodeJob) -> Hypothesis:
                with upload.window():
                    return await self._decoder.decode(model_size, job)

            async with self._time_limit(deadline), self._open(file, options.audio_track) as opened:
                audio, blocks = opened

                async def collect(segments: list[Segment]) -> None:
                    done.extend(segments)
                    if report is not None:
                        await report(_progress(plan, segments, audio.duration_hint))

                await drive(plan, blocks, decode, collect)
                warnings = tuple(audio.warnings)
        return Transcript(
            language=plan.language or "",
            duration=plan.duration,
            segments=tuple(done),
            task=options.decode.task,
            language_probability=plan.language_probability,
            warnings=warnings if plan.has_speech else (*warnings, NO_SPEECH),
        )

    async def detect_language(
        self, file: BinaryIO, model_size: str, options: FileOptions, deadline: float
    ) -> Detected:
        """Which language the first speech in `file` is in.

        What comes after the window that `transcribe` would detect it in is not read.
        """
        return await self._while_available(
            self._detect_language(file, model_size, options, deadline)
        )

    async def _detect_language(
        self, file: BinaryIO, model_size: str, options: FileOptions, deadline: float
    ) -> Detected:
        plan = FilePlan(DecodeOptions(), max_in_flight=1, detector=SileroDetector())
        async with self._time_limit(deadline):
            async with self._open(file, options.audio_track) as (audio, blocks), aclosing(blocks):
                while (job := plan.next_job()) is None and not plan.is_done:
                    await _feed(plan, blocks)
            if job is None:
                return Detected(None, (*audio.warnings, NO_SPEECH))
            found = await self._decoder.detect_language(model_size, job.audio)
            return Detected(found.among(options.decode.allowed_languages), tuple(audio.warnings))

    async def _while_available(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work on a file; give it up where no replica runs to decode it, nor will soon.

        Both at once, so that the check costs the file no time.
        """
        async with task_group() as group:
            checking = group.create_task(self._decoder.presence())
            result = await work
            checking.cancel()
        return result

    @asynccontextmanager
    async def _open(
        self, file: BinaryIO, audio_track: int | None
    ) -> AsyncGenerator[tuple[AudioFile, Blocks], None]:
        """The audio, and its blocks; ffmpeg's permit is free again as soon as those end."""
        limits = DecodeLimits(
            max_seconds=self._settings.max_audio_seconds,
            min_seconds=MIN_SECONDS,
            timeout=MAX_WAIT,
        )
        async with AsyncExitStack() as permit:
            await permit.enter_async_context(self._ffmpeg)
            async with open_audio(file, limits, audio_track=audio_track) as audio:
                yield audio, _and_then(audio.blocks(), permit.aclose)

    @asynccontextmanager
    async def _time_limit(self, deadline: float) -> AsyncGenerator[None, None]:
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise time_is_up(self._settings.upload_timeout) from None


async def _and_then(blocks: AsyncIterator[Audio], end: Callable[[], Awaitable[None]]) -> Blocks:
    async for block in blocks:
        yield block
    await end()


def _progress(plan: FilePlan, segments: list[Segment], duration: float | None) -> Progress:
    return Progress(
        segments=tuple(segments),
        language=plan.language,
        language_probability=plan.language_probability,
        position=plan.position,
        duration=duration,
    )
