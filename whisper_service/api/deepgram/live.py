"""WS /v1/listen: a request of Deepgram's live protocol, from the handshake to the close.

One plan for each channel that is heard apart; a Finalize ends it and begins the next.
"""

import asyncio
import hashlib
import json
import logging
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from whisper_service.api.catalog import check_model
from whisper_service.api.decoder import Decoder
from whisper_service.api.deepgram.channels import Splitter
from whisper_service.api.deepgram.query import parse_query
from whisper_service.api.deepgram.results import ChannelResults, Request
from whisper_service.api.errors import error_response
from whisper_service.api.limits import Limit
from whisper_service.api.outlet import Outlet, converse, next_message, watch_drain
from whisper_service.api.session import CATCH_UP, SLICE, Retry
from whisper_service.audio.pcm import PcmReader
from whisper_service.audio.resample import Resampler
from whisper_service.audio.vad import make_detector
from whisper_service.errors import (
    AudioTooLong,
    IdleTimeout,
    InvalidMessage,
    ModelUnavailable,
    Restarting,
    ServiceError,
    StreamTooFast,
    Unavailable,
)
from whisper_service.policy.events import StreamState
from whisper_service.policy.stream import StreamPlan
from whisper_service.settings import Settings
from whisper_service.types import SAMPLE_RATE, StreamConfig

logger = logging.getLogger(__name__)

MAX_FINALIZES = 32
"""Plans of a channel that may wait for their last words."""


class Channel:
    """What hears one channel."""

    def __init__(self, config: StreamConfig, results: ChannelResults) -> None:
        assert config.pcm is not None  # a request's audio is always raw
        self._config = config
        self._sample_rate = config.pcm.sample_rate
        self._pcm = PcmReader(config.pcm)
        self._resampler = Resampler(self._sample_rate)
        self.results = results
        self.plans: deque[StreamPlan] = deque([self._plan(0.0)])
        """The last one hears, the first one is decoded."""
        self.has_work = asyncio.Event()
        self.is_done = False
        """It has said its last word."""

    @property
    def received(self) -> float:
        """Seconds of audio."""
        return self.plans[-1].received

    @property
    def backlog(self) -> float:
        """Seconds that wait longer than they should."""
        return sum(plan.backlog for plan in self.plans)

    async def hear(self, data: bytes) -> None:
        """Give the plan what it is sent."""
        samples = self._resampler.push(self._pcm.read(data))
        for start in range(0, len(samples), SLICE):
            self.plans[-1].receive_audio(samples[start : start + SLICE])
            self.has_work.set()
            await asyncio.sleep(0)

    def finalize(self) -> None:
        """End the plan, and go on with another."""
        self._stop()
        self.plans.append(self._plan(self.received))
        self.has_work.set()

    def close(self) -> None:
        """There is no more audio."""
        self._stop()
        self.has_work.set()

    def is_finalizing(self, plan: StreamPlan) -> bool:
        """Whether a plan was ended by a Finalize."""
        return plan is not self.plans[-1]

    def _stop(self) -> None:
        rest = self._resampler.flush()
        if len(rest):
            self.plans[-1].receive_audio(rest)
        self.plans[-1].stop()
        self._resampler = Resampler(self._sample_rate)

    def _plan(self, begin: float) -> StreamPlan:
        offset, language = round(begin * SAMPLE_RATE), self._config.decode.language
        state = StreamState(offset, 0, language, 0.0, "")
        return StreamPlan(self._config, detector=make_detector(), resume=state)


class LiveRequest:
    """One client's request. Make it, then `run()` it once."""

    def __init__(
        self,
        socket: WebSocket,
        decoder: Decoder,
        request: Request,
        config: StreamConfig,
        settings: Settings,
        draining: Callable[[], bool],
    ) -> None:
        self._socket = socket
        self._decoder = decoder
        self._request = request
        self._model = config.model_size
        self._settings = settings
        self._draining = draining
        self._outlet = Outlet(socket, settings.stream_idle_timeout)
        n_streams = request.query.n_streams
        self._splitter = Splitter(request.query.sample_bytes, n_streams)
        self._channels = [
            Channel(config, ChannelResults(request, index)) for index in range(n_streams)
        ]
        self._has_caught_up = asyncio.Event()
        self._sha256 = hashlib.sha256()
        self._created = datetime.now(UTC)
        self._is_closing = False

    async def run(self) -> None:
        """Serve the request to its end; raises `WebSocketDisconnect` if the client left."""
        decoding = [self._decode_loop(channel) for channel in self._channels]
        loops = [self._receive_loop(), watch_drain(self._draining), *decoding]
        await converse(self._outlet, loops, self._fail)

    # --- receiving

    async def _receive_loop(self) -> None:
        while True:
            message = await next_message(self._socket, self._settings)
            if self._is_closing:
                continue  # only the disconnect matters now
            text, data = message.get("text"), message.get("bytes")
            if text is not None:
                self._obey(text)
            elif data:
                await self._hear(data)
            else:
                self._close_stream()
            await self._outlet.room()

    def _obey(self, text: str) -> None:
        match _command(text):
            case "KeepAlive":
                pass
            case "Finalize":
                for channel in self._channels:
                    channel.finalize()
            case "CloseStream":
                self._close_stream()
            case kind:
                raise InvalidMessage(
                    f"`type` is {str(kind)[:100]!r}; allowed are KeepAlive, Finalize, CloseStream.",
                    param="type",
                )

    async def _hear(self, data: bytes) -> None:
        self._sha256.update(data)
        for channel, part in zip(self._channels, self._splitter.split(data), strict=True):
            await channel.hear(part)
            self._tell(channel)
            for message in channel.results.tick(channel.received):
                self._say(message)
        await self._wait_for_room()
        limit = self._settings.max_stream_seconds
        if self._channels[0].received > limit:
            raise AudioTooLong(f"The stream has {limit:g} s of audio.", max_duration=limit)

    async def _wait_for_room(self) -> None:
        limit = self._settings.max_stream_backlog
        try:
            async with asyncio.timeout(CATCH_UP):
                while any(
                    channel.backlog > limit or len(channel.plans) > MAX_FINALIZES
                    for channel in self._channels
                ):
                    self._has_caught_up.clear()
                    await self._has_caught_up.wait()
        except TimeoutError:
            raise StreamTooFast(
                f"More than {limit:g} s of audio wait to be decoded.", max_seconds=limit
            ) from None

    def _close_stream(self) -> None:
        self._is_closing = True
        for channel in self._channels:
            channel.close()

    # --- decoding

    async def _decode_loop(self, channel: Channel) -> None:
        retry = Retry(self._settings.stream_retry_timeout)
        while True:
            plan = channel.plans[0]
            job = plan.next_job()
            self._tell(channel)
            if job is None and plan.is_done:
                if len(channel.plans) == 1:
                    return self._end(channel)
                channel.plans.popleft()
            elif job is None:
                await channel.has_work.wait()
                channel.has_work.clear()
            else:
                try:
                    plan.receive_hypothesis(job, await self._decoder.decode(self._model, job))
                    retry.reset()
                except ModelUnavailable:
                    raise
                except Unavailable as error:
                    plan.abandon(job)
                    await retry.wait(error)
                self._has_caught_up.set()

    def _tell(self, channel: Channel) -> None:
        plan = channel.plans[0]
        is_finalizing = channel.is_finalizing(plan)
        for message in channel.results.tell(plan.events(), is_finalizing=is_finalizing):
            self._say(message)

    def _end(self, channel: Channel) -> None:
        """The channel has said its last word; the last of them ends the request."""
        channel.is_done = True
        if not all(other.is_done for other in self._channels):
            return
        self._say(
            {
                "type": "Metadata",
                "transaction_key": "deprecated",
                "request_id": self._request.id,
                "sha256": self._sha256.hexdigest(),
                "created": self._created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "duration": round(channel.received, 3),
                "channels": self._request.query.channels,
            }
        )
        self._outlet.close(1000, "")

    def _say(self, message: dict[str, object]) -> None:
        self._outlet.say(json.dumps(message, ensure_ascii=False))

    def _fail(self, failure: ServiceError) -> None:
        """Deepgram tells errors in the close alone."""
        if isinstance(failure, IdleTimeout):
            self._outlet.close(1011, "NET-0001")
        else:
            self._outlet.close(failure.ws_close_code, failure.code)


def _command(text: str) -> object:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidMessage("A text message has to be JSON, and this one is not.") from None
    if not isinstance(fields, dict):
        return None
    if fields.get("channel") is not None:
        raise InvalidMessage("`channel` cannot be honoured: all channels are finalized at once.")
    return fields.get("type")


def deepgram_router(
    settings: Settings, decoder: Decoder, draining: Callable[[], bool]
) -> APIRouter:
    """The socket's route. A refusal before the handshake is an HTTP answer with `dg-error`."""
    router = APIRouter()
    streams = Limit(settings.max_streams, "streams")

    @router.websocket("/v1/listen")
    async def listen(socket: WebSocket) -> None:
        request_id = str(uuid.uuid4())
        try:
            if draining():
                raise Restarting("This replica is going away; connect again.", retry_after=1)
            with streams.admit():
                query = parse_query(dict(socket.query_params))
                config = query.stream_config(settings.default_model)
                await check_model(decoder, config.model_size, config.decode)
                await socket.accept(headers=[(b"dg-request-id", request_id.encode())])
                request = Request(request_id, config.model_size, query)
                await LiveRequest(socket, decoder, request, config, settings, draining).run()
        except WebSocketDisconnect as gone:
            logger.info("A Deepgram client left (%s)", gone.code)
        except ServiceError as error:
            await _deny(socket, error, request_id)

    return router


async def _deny(socket: WebSocket, error: ServiceError, request_id: str) -> None:
    if "websocket.http.response" not in socket.scope.get("extensions", {}):
        await socket.close(error.ws_close_code, error.code)
        return
    said = error.message.encode("ascii", "replace").decode()[:200]
    headers = {"dg-error": said, "dg-request-id": request_id}

    def shape(error: ServiceError) -> tuple[int, dict[str, str]]:
        status = 400 if error.http_status == 422 else error.http_status
        body = {"err_code": error.code, "err_msg": error.message, "request_id": request_id}
        return status, body

    await socket.send_denial_response(error_response(error, headers, shape=shape))
