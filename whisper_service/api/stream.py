"""WS /stream up to `ready`: admission before the handshake, then the first message."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from fastapi import APIRouter, HTTPException
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from whisper_service.api.announcer import Announcer, error_message
from whisper_service.api.catalog import check_model
from whisper_service.api.decoder import Decoder
from whisper_service.api.errors import error_response
from whisper_service.api.lag import LagBoard
from whisper_service.api.limits import Limit
from whisper_service.api.messages import ConfigMessage, ResumeMessage, parse_opening
from whisper_service.api.metrics import ACTIVE_STREAMS, Metrics
from whisper_service.api.resume import ResumePoint, ResumeTokens
from whisper_service.api.session import StreamSession
from whisper_service.api.watch import StreamWatch
from whisper_service.audio.vad import make_detector
from whisper_service.errors import (
    BinaryBeforeConfig,
    InternalError,
    InvalidResumeToken,
    PayloadTooLarge,
    Restarting,
    ServiceError,
    TimedOut,
)
from whisper_service.policy.events import StreamState
from whisper_service.policy.stream import StreamPlan
from whisper_service.settings import Settings

logger = logging.getLogger(__name__)


def stream_router(
    settings: Settings,
    decoder: Decoder,
    tokens: ResumeTokens,
    draining: Callable[[], bool],
    metrics: Metrics,
) -> APIRouter:
    """The socket's route. A refusal before the handshake is an HTTP answer, with Retry-After."""
    router = APIRouter()
    streams = Limit(settings.max_streams, "streams")
    lags = LagBoard(settings.stream_admission_lag)
    door = _Door(settings, decoder, tokens, draining, metrics, lags)

    @router.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        try:
            if draining():
                raise Restarting("This replica is going away; connect again.", retry_after=1)
            lags.check()
            with streams.admit():
                await door.serve(socket)
        except ServiceError as error:
            await _deny(socket, error)

    @router.get("/stream", include_in_schema=False)
    async def no_socket() -> None:
        raise HTTPException(
            426, "/stream is a WebSocket: connect with ws:// or wss://.", {"Upgrade": "websocket"}
        )

    return router


class _Door:
    """Lets a client in: accepts, reads the first message, and hands over to a session."""

    def __init__(
        self,
        settings: Settings,
        decoder: Decoder,
        tokens: ResumeTokens,
        draining: Callable[[], bool],
        metrics: Metrics,
        lags: LagBoard,
    ) -> None:
        self._settings = settings
        self._decoder = decoder
        self._tokens = tokens
        self._draining = draining
        self._metrics = metrics
        self._lags = lags
        self._n_active: Counter[str] = Counter()
        self._containers = Limit(settings.max_container_streams, "streams of containers")

    async def serve(self, socket: WebSocket) -> None:
        """Serve one stream to its end; raises nothing of ours."""
        await socket.accept()
        try:
            session = await self._open(socket)
            with (
                self._containers.admit() if session.is_container else nullcontext(),
                self._counted(session.model_size),
                self._lags.listing(lambda: session.lag),
            ):
                await session.run()
        except WebSocketDisconnect as gone:
            logger.info("A stream's client left (%s)", gone.code)
        except ServiceError as error:
            await _refuse(socket, error)
        except Exception:  # the API's shell: a bug must not reach the client
            logger.exception("A stream failed")
            await _refuse(socket, InternalError())

    @contextmanager
    def _counted(self, model_size: str) -> Iterator[None]:
        self._count(model_size, 1)
        try:
            yield
        finally:
            self._count(model_size, -1)

    def _count(self, model_size: str, change: int) -> None:
        self._n_active[model_size] += change
        self._metrics.record(ACTIVE_STREAMS, self._n_active[model_size], model_size)

    async def _open(self, socket: WebSocket) -> StreamSession:
        opening = parse_opening(await self._first_message(socket))
        if isinstance(opening, ResumeMessage):
            point, state = self._resumed(opening.resume)
        else:
            point, state = self._begun(opening), None
        config = ConfigMessage.model_validate(point.config).stream_config()
        await check_model(self._decoder, config.model_size, config.decode)
        detector = make_detector() if config.vad else None
        plan = StreamPlan(config, detector=detector, resume=state)
        announcer = Announcer(self._tokens, point)
        watch = StreamWatch(self._metrics, config.model_size)
        return StreamSession(
            socket, self._decoder, plan, config, announcer, watch, self._settings, self._draining
        )

    def _begun(self, message: ConfigMessage) -> ResumePoint:
        config = message.understood(self._settings.default_model)
        state = StreamState(
            offset=0, next_id=0, language=config.language, language_probability=0.0, context=""
        )
        fields = config.model_dump(exclude={"type"})
        return ResumePoint(secrets.token_hex(8), fields, state, seq=-1)

    def _resumed(self, token: str) -> tuple[ResumePoint, StreamState]:
        point = self._tokens.read(token)
        try:
            ConfigMessage.model_validate(point.config)
        except ValidationError:
            raise InvalidResumeToken(
                "The resume token is of another version of the service; begin a new stream."
            ) from None
        return point, point.state

    async def _first_message(self, socket: WebSocket) -> str:
        limit = self._settings.config_timeout
        try:
            async with asyncio.timeout(limit):
                message = await socket.receive()
        except TimeoutError:
            raise TimedOut(f"No configuration came within {limit:g} s.", limit=limit) from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        text: str | None = message.get("text")
        if text is None:
            raise BinaryBeforeConfig(
                "The first message has to be text: the configuration, as JSON; {} is enough."
            )
        if len(text) > self._settings.max_message_bytes:
            raise PayloadTooLarge(
                f"The first message is longer than {self._settings.max_message_bytes:,} bytes.",
                max_bytes=self._settings.max_message_bytes,
            )
        return text


async def _refuse(socket: WebSocket, error: ServiceError) -> None:
    """Tell and close, unless the client is gone already."""
    try:
        if socket.application_state is WebSocketState.CONNECTED:
            await socket.send_text(error_message(error, seq=0))
            await socket.close(error.ws_close_code, error.code)
    except (WebSocketDisconnect, RuntimeError):
        logger.info("A stream's client left before it was told: %s", error.code)


async def _deny(socket: WebSocket, error: ServiceError) -> None:
    """Answer the handshake itself with a status, where the server can; with 403 where not."""
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(error_response(error))
    else:
        await socket.close(error.ws_close_code, error.code)
