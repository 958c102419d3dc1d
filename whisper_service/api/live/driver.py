"""Runs a stream's plans over the decoder: samples in, events out, whatever the protocol.

Most streams have one plan. Where a client may end what it is saying and go on (a commit, a
Finalize), each such turn is a plan of its own: the last one hears, the first one is decoded. The
plans decide everything about audio and text; this file only moves data, and says when to stop.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from typing import Generic, TypeVar

from whisper_service.api.decoder import Decoder
from whisper_service.api.live.pipeline import PlanRun
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
"""Samples the plan hears before others get their turn: voice detection of so much holds the event
loop for a millisecond or two."""
CATCH_UP = 2.0
"""Seconds a stream at its backlog limit is not read, so that TCP slows the sender down where no
proxy is between; about one decode on a busy machine. After that it is closed."""
FIRST_RETRY, LAST_RETRY = 0.25, 2.0
"""Seconds between tries of a decode; Serve replaces a dead replica within about two."""

T = TypeVar("T")


class StreamRunner(Generic[T]):
    """One task is to `hear`, another one to `decode`. `tell` is called with the plan that is
    decoded and its news, also where there are none, after each step of either."""

    def __init__(
        self,
        decoder: Decoder,
        settings: Settings,
        first: PlanRun[T],
        tell: Callable[[PlanRun[T], list[Event]], None],
    ) -> None:
        self._decoder = decoder
        self._settings = settings
        self._tell = tell
        self._runs = deque([first])
        self._has_work = asyncio.Event()
        self._has_caught_up = asyncio.Event()
        self._patience: asyncio.Timeout | None = None
        """With the decode in flight."""

    @property
    def first(self) -> PlanRun[T]:
        """The plan that is decoded."""
        return self._runs[0]

    @property
    def last(self) -> PlanRun[T]:
        """The plan that hears."""
        return self._runs[-1]

    @property
    def backlog(self) -> float:
        """Seconds of audio that wait longer than the client's settings ask for."""
        return sum(run.plan.backlog for run in self._runs)

    # --- hearing

    async def hear_bytes(self, data: bytes) -> None:
        """Take raw audio; as `hear`."""
        await self.hear(self.last.read(data))

    async def hear(self, samples: Audio) -> None:
        """Take 16 kHz samples; waits while too many are undecoded.

        Raises `StreamTooFast` where that does not end, and `AudioTooLong` once the plan has all
        that a stream may have.
        """
        limit = self._settings.max_stream_seconds
        for start in range(0, len(samples), SLICE):
            # Asked for anew: another plan may have taken the place of one that failed.
            self.last.hear(samples[start : start + SLICE], _now())
            self._tell_news()
            self.stir()
            await self.room()
            if self.last.plan.received > limit:
                raise AudioTooLong(
                    f"The stream has {limit:g} s of audio, all that one may have. Begin a new one.",
                    max_duration=limit,
                )
            await asyncio.sleep(0)

    async def hear_container(self, container: Container) -> ServiceError | None:
        """Hear what ffmpeg makes of a container to its end, which may come before the client's.

        Returns what cut it short, if anything did; what was heard before that can still be told.
        """
        try:
            async with aclosing(container.blocks()) as blocks:
                async for samples in blocks:
                    await self.hear(samples)
        except (InvalidAudio, AudioTooLong) as error:
            return error
        return None

    async def room(self) -> None:
        """Wait until there is room for more audio and more turns; raises `StreamTooFast`."""
        seconds, turns = self._settings.max_stream_backlog, self._settings.max_stream_turns
        try:
            async with asyncio.timeout(CATCH_UP):
                while self.backlog > seconds or len(self._runs) > turns:
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
        """Make what was heard final, in the same plan."""
        self.last.plan.finalize()
        self.stir()

    def stop(self) -> None:
        """No more audio comes; `decode` returns once everything is told."""
        self.last.stop()
        self.stir()

    def next_turn(self, make: Callable[[float], PlanRun[T]]) -> None:
        """End the plan that hears, and go on with the one made for the second where it ended."""
        self.last.stop()
        self._runs.append(make(self.last.plan.received))
        self.stir()

    def replace_last(self, run: PlanRun[T]) -> None:
        """Drop the plan that hears with all it heard, and go on with `run`."""
        self._runs[-1] = run
        self.stir()

    def drop_first(self) -> None:
        """Go on without the plan that is decoded; there has to be another one."""
        self._runs.popleft()
        self._has_caught_up.set()

    def stir(self) -> None:
        """The plans may have work; a partial that would keep a final waiting is given up for it."""
        self._has_work.set()
        if self._patience is not None and self.first.plan.is_superseded:
            self._patience.reschedule(_now())
            self._patience = None

    # --- decoding

    async def decode(self) -> None:
        """Decode plan after plan; returns when the last one has said its last.

        Raises what a window of `first` failed with; what is only away for the moment is tried again
        before. May be called again, to go on without what failed.
        """
        retry = Retry(self._settings.stream_retry_timeout)
        while True:
            run = self.first
            job = run.plan.next_job()
            self._tell_news()
            if job is not None:
                await self._decode(run, job, retry)
            elif not run.plan.is_done:
                await self._has_work.wait()
                self._has_work.clear()
            elif run is not self.last:
                self.drop_first()
            else:
                return

    async def _decode(self, run: PlanRun[T], job: DecodeJob, retry: "Retry") -> None:
        try:
            async with asyncio.timeout(None) as self._patience:
                hypothesis = await self._decoder.decode(run.config.model_size, job)
        except TimeoutError:
            run.plan.abandon(job)
            return
        except ServiceError as error:
            run.plan.abandon(job)
            if is_passing(error):
                await retry.wait(error)
            elif run is self.first:  # else it was dropped meanwhile, and nobody waits for it
                raise
            return
        finally:
            self._patience = None
        retry.reset()
        run.receive_hypothesis(job, hypothesis)
        self._has_caught_up.set()

    def _tell_news(self) -> None:
        self._tell(self.first, self.first.take_events(_now()))


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
