"""Runs a stream's plans over the decoder: samples in, events out, whatever the protocol.

Most streams have one plan. Where a client may end what it is saying and go on (a commit, a
Finalize), each such turn has a plan of its own: the last one takes the audio, the first one is
decoded. The plans decide everything about audio and text; this file only moves data, and says when
to stop.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

from whisper_service.api.decoder import Decoder
from whisper_service.api.live.pipeline import StreamPipeline
from whisper_service.audio.container import Container
from whisper_service.errors import (
    AudioTooLong,
    InvalidAudio,
    ModelUnavailable,
    ServiceError,
    StreamTooFast,
    Unavailable,
)
from whisper_service.policy.stream_events import Event
from whisper_service.settings import Settings
from whisper_service.types import SAMPLE_RATE, Audio, DecodeJob

SLICE = SAMPLE_RATE // 4
"""Samples a plan takes before others get their turn: voice detection of so much holds the event
loop for a millisecond or two."""
MAX_BACKLOG = 60.0
"""Seconds of audio a stream may have waiting to be decoded: a WhisperASR replica that is replaced
is back in less. More for long closes it."""
CATCH_UP = 2.0
"""Seconds a stream at its backlog limit is not read, so that TCP slows the sender down where no
proxy is between; about one decode on a busy machine. After that it is closed."""
MAX_TURNS = 32
"""Turns of one stream that may wait to be decoded: commits of a Realtime session, Finalizes of a
Deepgram request. More for long closes it."""
RETRY_TIMEOUT = 20.0
"""Seconds a stream waits for a decoder that is away or full before it is closed."""
FIRST_RETRY, LAST_RETRY = 0.25, 2.0
"""Seconds between tries of a decode; Serve replaces a dead replica within about two."""

P = TypeVar("P", bound=StreamPipeline)


class StreamDriver(Generic[P]):
    """One task passes on audio and commands, another one iterates over `events`."""

    def __init__(self, decoder: Decoder, settings: Settings, first: P) -> None:
        self._decoder = decoder
        self._settings = settings
        self._pipelines = deque([first])
        self._has_work = asyncio.Event()
        self._has_caught_up = asyncio.Event()
        self._decode_timeout: asyncio.Timeout | None = None
        """Of the decode in flight; it has none until the decode is superseded."""

    @property
    def first(self) -> P:
        """The pipeline that is decoded."""
        return self._pipelines[0]

    @property
    def last(self) -> P:
        """The pipeline that takes the audio."""
        return self._pipelines[-1]

    @property
    def backlog(self) -> float:
        """Seconds of audio that wait longer than the client's settings ask for."""
        return sum(pipeline.plan.backlog for pipeline in self._pipelines)

    # --- audio

    async def receive_audio(self, samples: Audio) -> None:
        """Take 16 kHz samples, of `last.read` or a container; waits while too many are undecoded.

        Raises `StreamTooFast` where that does not end, and `AudioTooLong` once the plan has all
        that a stream may have.
        """
        limit = self._settings.max_stream_seconds
        for start in range(0, len(samples), SLICE):
            # Asked for anew: another pipeline may have taken the place of one that failed.
            self.last.receive_audio(samples[start : start + SLICE], _now())
            self._wake()
            await self.wait_for_room()
            if self.last.plan.received > limit:
                raise AudioTooLong(
                    f"The stream has {limit:g} s of audio, all that one may have. Begin a new one.",
                    max_duration=limit,
                )
            await asyncio.sleep(0)  # the slice's events go out before anything else comes in

    async def receive_container(self, container: Container) -> ServiceError | None:
        """Take what ffmpeg makes of a container to its end, which may come before the client's.

        Returns what cut it short, if anything did; the text of what came before can still be sent.
        """
        try:
            async with aclosing(container.blocks()) as blocks:
                async for samples in blocks:
                    await self.receive_audio(samples)
        except (InvalidAudio, AudioTooLong) as error:
            return error
        return None

    async def wait_for_room(self) -> None:
        """Wait until there is room for more audio and more turns; raises `StreamTooFast`."""
        seconds, turns = MAX_BACKLOG, MAX_TURNS
        try:
            async with asyncio.timeout(CATCH_UP):
                while self.backlog > seconds or len(self._pipelines) > turns:
                    self._has_caught_up.clear()
                    await self._has_caught_up.wait()
        except TimeoutError:
            raise StreamTooFast(
                f"More than {seconds:g} s of audio, or {turns} turns, wait to be decoded. Send no"
                " faster than real time; if you did, the service is overloaded.",
                max_seconds=seconds,
                max_turns=turns,
            ) from None

    # --- turns

    def finalize(self) -> None:
        """Make all audio so far final, in the same pipeline."""
        self.last.plan.finalize()
        self._wake()

    def stop(self) -> None:
        """No more audio comes; `events` ends once everything is final."""
        self.last.stop()
        self._wake()

    def next_turn(self, make: Callable[[float], P]) -> None:
        """End the last pipeline, and go on with the one made for the second where it ended."""
        self.last.stop()
        self._pipelines.append(make(self.last.plan.received))
        self._wake()

    def replace_last(self, pipeline: P) -> None:
        """Drop the last pipeline with all its audio, and go on with another one."""
        self._pipelines[-1] = pipeline
        self._wake()

    def drop_first(self) -> None:
        """Go on without the pipeline that is decoded; there has to be another one."""
        self._pipelines.popleft()
        self._has_caught_up.set()

    # --- decoding

    async def events(self) -> AsyncGenerator[tuple[P, list[Event]], None]:
        """Decode pipeline after pipeline; yield the one that is decoded with its new events, also
        where there are none, after each slice of audio and each hypothesis.

        Ends when the last pipeline is done. Raises what a window of `first` failed with; what is
        only away for the moment is tried again before. May be called again, to go on without what
        failed.
        """
        retry = Retry(RETRY_TIMEOUT)
        decode: asyncio.Task[None] | None = None
        try:
            while True:
                pipeline = self.first
                if decode is None and (job := pipeline.plan.next_job()) is not None:
                    decode = asyncio.create_task(self._decode(pipeline, job, retry))
                    decode.add_done_callback(lambda _: self._has_work.set())
                yield pipeline, pipeline.take_events(_now())
                if decode is not None or not pipeline.plan.is_done:
                    await self._has_work.wait()
                    self._has_work.clear()
                elif pipeline is not self.last:
                    self.drop_first()
                else:
                    return
                if decode is not None and decode.done():
                    decode.result()  # raises what it failed with
                    decode = None
        finally:
            if decode is not None:
                decode.cancel()
                await asyncio.gather(decode, return_exceptions=True)

    async def _decode(self, pipeline: P, job: DecodeJob, retry: "Retry") -> None:
        try:
            async with asyncio.timeout(None) as self._decode_timeout:
                self._give_up_if_superseded()
                hypothesis = await self._decoder.decode(pipeline.config.model_size, job)
        except TimeoutError:
            pipeline.plan.abandon(job)
            return
        except ServiceError as error:
            pipeline.plan.abandon(job)
            if is_passing(error):
                await retry.wait(error)
            elif pipeline is self.first:  # else it was dropped meanwhile, and nobody waits for it
                raise
            return
        finally:
            self._decode_timeout = None
        retry.reset()
        pipeline.receive_hypothesis(job, hypothesis)
        self._has_caught_up.set()

    def _wake(self) -> None:
        self._has_work.set()
        self._give_up_if_superseded()

    def _give_up_if_superseded(self) -> None:
        """A partial that would keep a final waiting is not decoded to its end."""
        if self._decode_timeout is not None and self.first.plan.is_superseded:
            self._decode_timeout.reschedule(_now())
            self._decode_timeout = None


class Retry:
    """Waits longer and longer between tries, and gives up after a while."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self.reset()

    def reset(self) -> None:
        """A try went well."""
        self._delay = FIRST_RETRY
        self._give_up_at: float | None = None

    async def wait(self, error: ServiceError) -> None:
        """Sleep; raise `error` once all tries since the last success took longer than the limit."""
        now = _now()
        if self._give_up_at is None:
            self._give_up_at = now + self._limit
        if now >= self._give_up_at:
            raise error
        await asyncio.sleep(min(self._delay, self._give_up_at - now))
        self._delay = min(2 * self._delay, LAST_RETRY)


def is_passing(error: ServiceError) -> bool:
    """Whether another try may go better: a replica that died or is full, not missing weights."""
    return isinstance(error, Unavailable) and not isinstance(error, ModelUnavailable)


def _now() -> float:
    return asyncio.get_running_loop().time()
