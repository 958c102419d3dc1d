"""One live stream, from `ready` to the close: three loops around a `StreamPlan`.

Receiving turns bytes into samples and gives them to the plan; decoding takes jobs from the plan
to the decoder and hypotheses back; sending is the only one that writes to the socket. The plan
decides everything about audio and text; this file only moves data, and ends what has to end.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing

from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from whisper_service.api.announcer import Announcer, LagWatch
from whisper_service.api.decoder import Decoder
from whisper_service.api.messages import Finalize, Stop, parse_command
from whisper_service.api.tasks import task_group
from whisper_service.api.watch import StreamWatch
from whisper_service.audio.container import Container, open_container
from whisper_service.audio.pcm import PcmReader
from whisper_service.audio.resample import Resampler
from whisper_service.errors import (
    AudioTooLong,
    IdleTimeout,
    InternalError,
    InvalidAudio,
    ModelUnavailable,
    PayloadTooLarge,
    Restarting,
    ServiceError,
    StreamTooFast,
    Unavailable,
)
from whisper_service.policy.events import Done
from whisper_service.policy.stream import StreamPlan
from whisper_service.settings import Settings
from whisper_service.types import SAMPLE_RATE, Audio, PcmFormat, StreamConfig

logger = logging.getLogger(__name__)

SLICE = SAMPLE_RATE // 4
"""Samples the plan hears before others get their turn. Voice detection takes 1.4 to 2 ms per 32 ms
of audio, so this holds the event loop for 11 to 16 ms. A thread would not help: the detector keeps
Python's lock while it computes."""
DRAIN_INTERVAL = 0.5
"""Seconds between two looks at whether the replica is going away; it has many to leave."""
CATCH_UP = 2.0
"""Seconds a stream at its backlog limit is not read, so that TCP slows the sender down where no
proxy is between; about one decode on a busy machine. After that it is closed."""
FIRST_RETRY, LAST_RETRY = 0.25, 2.0
"""Seconds between tries of a decode; Serve replaces a dead replica within about two."""


class StreamSession:
    """One client's stream. Make it, then `run()` it once."""

    def __init__(
        self,
        socket: WebSocket,
        decoder: Decoder,
        plan: StreamPlan,
        config: StreamConfig,
        announcer: Announcer,
        watch: StreamWatch,
        settings: Settings,
        draining: Callable[[], bool],
    ) -> None:
        self._socket = socket
        self._decoder = decoder
        self._plan = plan
        self.model_size = config.model_size
        pcm = config.pcm or PcmFormat()
        self._pcm = PcmReader(pcm)
        self._resampler = Resampler(pcm.sample_rate)
        self.is_container = config.pcm is None
        self._container: Container | None = None
        self._announcer = announcer
        self._watch = watch
        self._settings = settings
        self._draining = draining
        self._lag = LagWatch(settings.stream_lag_warning)
        self._has_work = asyncio.Event()
        self._has_news = asyncio.Event()
        self._has_caught_up = asyncio.Event()
        self._is_over = asyncio.Event()
        """Receiving and decoding have no purpose any more: the last word was said, or they
        failed."""
        self._is_stopped = False
        self._has_ended = False
        """The plan was told that no more audio comes."""
        self._failure: ServiceError | None = None
        """What ends the stream, told after all that the plan still has to say."""

    @property
    def lag(self) -> float:
        """Seconds of audio that wait longer than the client's settings ask for."""
        return self._plan.backlog

    async def run(self) -> None:
        """Serve the stream until its end; raises `WebSocketDisconnect` if the client left.

        Errors are told to the client and end here. Whatever is in flight when this returns or
        raises has been cancelled.
        """
        async with task_group() as group:
            group.create_task(self._send_loop())
            try:
                await self._work()
            except WebSocketDisconnect:
                raise
            except ServiceError as error:
                self._fail(error)
            except Exception:
                logger.exception("A stream failed")
                self._fail(InternalError())

    async def _work(self) -> None:
        async with AsyncExitStack() as stack, task_group() as group:
            if self.is_container:
                self._container = await stack.enter_async_context(self._open_container())
            loops = [self._receive_loop(), self._decode_loop(), self._watch_drain()]
            if self._container is not None:
                loops.append(self._container_loop(self._container))
            tasks = [group.create_task(loop) for loop in loops]
            await self._is_over.wait()
            for task in tasks:
                task.cancel()

    def _open_container(self) -> AbstractAsyncContextManager[Container]:
        limit = self._settings.ffmpeg_timeout
        return open_container(max_wait=limit, cpu_seconds=self._settings.max_stream_seconds + limit)

    # --- receiving

    async def _receive_loop(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            if self._is_stopped:
                continue  # only the disconnect matters now
            text, data = message.get("text"), message.get("bytes")
            self._check_size(text if text is not None else data or b"")
            if text is not None:
                self._obey(text)
            elif data and self._container is not None:
                await self._container.feed(data)
            elif data:
                await self._hear(self._resampler.push(self._pcm.read(data)))
            else:
                self._stop()

    async def _receive(self) -> Message:
        limit = None if self._is_stopped else self._settings.stream_idle_timeout
        try:
            async with asyncio.timeout(limit):
                return await self._socket.receive()
        except TimeoutError:
            raise IdleTimeout(
                f"Nothing was received for {limit:g} s; send audio or a keepalive message.",
                limit=limit,
            ) from None

    def _check_size(self, data: str | bytes) -> None:
        limit = self._settings.max_message_bytes
        if len(data) > limit:
            raise PayloadTooLarge(
                f"A message has {len(data):,} bytes; allowed are {limit:,}.", max_bytes=limit
            )

    def _obey(self, text: str) -> None:
        command = parse_command(text)
        if isinstance(command, Stop):
            self._stop()
        elif isinstance(command, Finalize):
            self._plan.finalize()
            self._stir()

    async def _container_loop(self, container: Container) -> None:
        """Hear what ffmpeg makes of the bytes, to its end, which may come before the client's."""
        try:
            async with aclosing(container.blocks()) as blocks:
                async for samples in blocks:
                    await self._hear(samples)
                    if self._has_ended:
                        return
        except InvalidAudio as error:  # what came before it is still told
            self._failure = error
        self._is_stopped = True
        self._end_audio()

    async def _hear(self, samples: Audio) -> None:
        for start in range(0, len(samples), SLICE):
            now = asyncio.get_running_loop().time()
            self._plan.receive_audio(samples[start : start + SLICE])
            self._watch.hear(self._plan.received, now)
            self._stir()
            if self._plan.backlog > self._settings.max_stream_backlog:
                await self._wait_for_room()
            if self._plan.received > self._settings.max_stream_seconds:
                self._stop_at_limit()
                return
            await asyncio.sleep(0)

    async def _wait_for_room(self) -> None:
        limit = self._settings.max_stream_backlog
        try:
            async with asyncio.timeout(CATCH_UP):
                while self._plan.backlog > limit:
                    self._has_caught_up.clear()
                    await self._has_caught_up.wait()
        except TimeoutError:
            raise StreamTooFast(
                f"More than {limit:g} s of audio wait to be decoded. Send no faster than real"
                " time; if you did, the service is overloaded: go on later with the resume token.",
                max_seconds=limit,
                resume=self._announcer.resume_token,
                offset=self._announcer.offset,
            ) from None

    def _stop_at_limit(self) -> None:
        limit = self._settings.max_stream_seconds
        self._failure = AudioTooLong(
            f"The stream has {limit:g} s of audio, all that one may have; everything up to here"
            " is final. Begin a new one.",
            max_duration=limit,
        )
        self._is_stopped = True
        self._end_audio()

    def _stop(self) -> None:
        self._is_stopped = True
        if self._container is not None:
            self._container.end()  # the rest is still in ffmpeg
        else:
            self._end_audio()

    def _end_audio(self) -> None:
        rest = self._resampler.flush()
        if len(rest):
            self._plan.receive_audio(rest)
        self._plan.stop()
        self._has_ended = True
        self._stir()

    # --- decoding

    async def _decode_loop(self) -> None:
        retry = Retry(self._settings.stream_retry_timeout)
        while True:
            job = self._plan.next_job()
            if job is None and self._plan.is_done:
                return self._stir()
            if job is None:
                await self._has_work.wait()
                self._has_work.clear()
                continue
            try:
                hypothesis = await self._decoder.decode(self.model_size, job)
            except ModelUnavailable:
                raise
            except Unavailable as error:
                self._plan.abandon(job)
                await retry.wait(error)
                continue
            retry.reset()
            self._plan.receive_hypothesis(job, hypothesis)
            self._watch.answer(self._plan.backlog, self._plan.n_loops, self._plan.n_phrases)
            self._has_caught_up.set()
            self._has_news.set()

    # --- sending

    async def _send_loop(self) -> None:
        await self._say(self._announcer.ready())
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            # Looked at before the events: what was final before the failure is still told.
            has_failed = self._is_over.is_set()
            for event in self._plan.events():
                if isinstance(event, Done) and self._failure is not None:
                    return await self._close_with(self._failure)
                await self._say(self._announcer.event(event))
                self._watch.tell(event, asyncio.get_running_loop().time())
                if isinstance(event, Done):
                    return await self._close(1000, "done")
            if has_failed and self._failure is not None:
                return await self._close_with(self._failure)
            lag = self._plan.backlog
            if self._lag.should_warn(lag, asyncio.get_running_loop().time()):
                await self._say(self._announcer.warning(lag))

    async def _say(self, message: str) -> None:
        """Write; a client that does not read for too long is treated as gone."""
        try:
            async with asyncio.timeout(self._settings.stream_idle_timeout):
                await self._socket.send_text(message)
        except TimeoutError:
            raise WebSocketDisconnect(1006, "The client does not read.") from None

    async def _close_with(self, failure: ServiceError) -> None:
        await self._say(self._announcer.error(failure))
        await self._close(failure.ws_close_code, failure.code)

    async def _close(self, code: int, reason: str) -> None:
        await self._socket.close(code, reason)
        self._is_over.set()

    # --- ending

    async def _watch_drain(self) -> None:
        while not self._draining():  # noqa: ASYNC110  Ray only has a flag, nothing to await
            await asyncio.sleep(DRAIN_INTERVAL)
        raise Restarting(
            "This replica is going away. Connect again, with `resume` as the first message, and"
            " send the audio from `offset` on.",
            retry_after=0,
            resume=self._announcer.resume_token,
            offset=self._announcer.offset,
        )

    def _fail(self, failure: ServiceError) -> None:
        self._failure = failure
        self._is_over.set()
        self._has_news.set()

    def _stir(self) -> None:
        self._has_work.set()
        self._has_news.set()


class Retry:
    """Waits longer and longer between tries, and gives up after a while."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self.reset()

    def reset(self) -> None:
        self._delay = FIRST_RETRY
        self._give_up_at: float | None = None

    async def wait(self, error: Unavailable) -> None:
        """Sleep; raise `error` once all tries since the last success took longer than the limit."""
        now = asyncio.get_running_loop().time()
        if self._give_up_at is None:
            self._give_up_at = now + self._limit
        if now >= self._give_up_at:
            raise error
        await asyncio.sleep(min(self._delay, self._give_up_at - now))
        self._delay = min(2 * self._delay, LAST_RETRY)
