"""WS /stream up to `ready`: admission before the handshake, then the first message."""

import asyncio
import logging
import secrets

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from whisper_service.api.catalog import check_model, resolve_model
from whisper_service.api.fronts.native.message_encoder import MessageEncoder, error_message
from whisper_service.api.fronts.native.messages import ConfigMessage, ResumeMessage, parse_opening
from whisper_service.api.fronts.native.resume import ResumePoint, ResumeTokens
from whisper_service.api.fronts.native.session import StreamSession
from whisper_service.api.http.errors import ErrorResponse
from whisper_service.api.http.limits import MAX_MESSAGE_BYTES
from whisper_service.api.live.pipeline import StreamPipeline, state_at
from whisper_service.api.live.streams import LiveStreams
from whisper_service.api.log_context import name_session
from whisper_service.errors import (
    BinaryBeforeConfig,
    InternalError,
    InvalidRequest,
    InvalidResumeToken,
    PayloadTooLarge,
    ServiceError,
    TimedOut,
)

logger = logging.getLogger(__name__)

CONFIG_TIMEOUT = 10.0
"""Seconds a new socket may take to send its configuration."""


class UpgradeRequired(InvalidRequest):
    """A request where a socket is (RFC 9110, section 15.5.22)."""

    http_status = 426


def stream_router(streams: LiveStreams, tokens: ResumeTokens) -> APIRouter:
    """The socket's route. A refusal before the handshake is an HTTP answer, with Retry-After."""
    router = APIRouter()
    handshake = _Handshake(streams, tokens)

    @router.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        with streams.admit():
            await handshake.serve(socket)

    @router.get("/stream", include_in_schema=False)
    async def no_socket(request: Request) -> ErrorResponse:
        with streams.admit():  # a page that was denied asks why
            pass
        error = UpgradeRequired("/stream is a WebSocket: connect with ws:// or wss://.")
        return ErrorResponse(error, request.scope, {"Upgrade": "websocket"})

    return router


class _Handshake:
    """Accepts a socket, reads its first message, and hands over to a session."""

    def __init__(self, streams: LiveStreams, tokens: ResumeTokens) -> None:
        self._streams = streams
        self._settings = streams.settings
        self._tokens = tokens

    async def serve(self, socket: WebSocket) -> None:
        """Serve one stream to its end; raises nothing of ours."""
        await socket.accept()
        try:
            pipeline, encoder = await self._open(socket)
            config = pipeline.config
            session = StreamSession(socket, self._streams, pipeline, encoder)
            async with self._streams.container(config) as container:
                with self._streams.open("stream", config.model_size, lambda: session.lag):
                    await session.run(container)
        except WebSocketDisconnect as gone:
            logger.info("A stream's client left (%s)", gone.code)
        except ServiceError as error:
            await _refuse(socket, error)
        except Exception:  # the API's shell: a bug must not reach the client
            logger.exception("A stream failed")
            await _refuse(socket, InternalError())

    async def _open(self, socket: WebSocket) -> tuple[StreamPipeline, MessageEncoder]:
        opening = parse_opening(await self._first_message(socket))
        if isinstance(opening, ResumeMessage):
            point = self._resumed(opening.resume)
        else:
            point = await self._begun(opening)
        name_session(point.session_id)
        config = ConfigMessage.model_validate(point.config).stream_config()
        await check_model(self._streams.decoder, config.model_size, config.decode)
        meter = self._streams.meter("stream", config.model_size)
        pipeline = StreamPipeline(config, point.state, meter)
        return pipeline, MessageEncoder(self._tokens, point)

    async def _begun(self, message: ConfigMessage) -> ResumePoint:
        decoder = self._streams.decoder
        model = await resolve_model(decoder, self._settings, message.model_size)
        config = message.understood(model)
        state = state_at(config.stream_config(), 0.0)
        fields = config.model_dump(exclude={"type"})
        return ResumePoint(secrets.token_hex(8), fields, state, seq=-1)

    def _resumed(self, token: str) -> ResumePoint:
        point = self._tokens.read(token)
        try:
            ConfigMessage.model_validate(point.config)
        except ValidationError:
            raise InvalidResumeToken(
                "The resume token is of another version of the service; begin a new stream."
            ) from None
        return point

    async def _first_message(self, socket: WebSocket) -> str:
        limit = CONFIG_TIMEOUT
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
        if len(text) > MAX_MESSAGE_BYTES:
            raise PayloadTooLarge(
                f"The first message is longer than {MAX_MESSAGE_BYTES:,} bytes.",
                max_bytes=MAX_MESSAGE_BYTES,
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
