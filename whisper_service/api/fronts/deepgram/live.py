"""WS /v1/listen: a request of Deepgram's live protocol, from the handshake to the close.

Each channel that is decoded apart has plans of its own; a Finalize ends one and begins the next.
"""

import hashlib
import json
import logging
import uuid
from collections.abc import Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from whisper_service.api.catalog import check_model, resolve_model
from whisper_service.api.fronts.deepgram.channels import Splitter
from whisper_service.api.fronts.deepgram.query import LISTS, parse_query
from whisper_service.api.fronts.deepgram.results import ChannelResults, Message, Request, configured
from whisper_service.api.http.errors import shown
from whisper_service.api.http.params import given
from whisper_service.api.live.driver import StreamDriver
from whisper_service.api.live.pipeline import StreamPipeline, state_at
from whisper_service.api.live.socket import next_message, serve_socket, watch_drain
from whisper_service.api.live.streams import LiveStreams
from whisper_service.api.live.writer import SocketWriter
from whisper_service.api.log_context import name_session
from whisper_service.audio.container import Container
from whisper_service.errors import (
    AudioTooLong,
    IdleTimeout,
    InvalidAudio,
    InvalidMessage,
    ServiceError,
)
from whisper_service.types import StreamConfig

logger = logging.getLogger(__name__)

Driver = StreamDriver[StreamPipeline]

_COMMANDS = ("KeepAlive", "Finalize", "Configure", "CloseStream")


class LiveRequest:
    """One client's request. Make it, then `run()` it once."""

    def __init__(
        self, socket: WebSocket, streams: LiveStreams, request: Request, config: StreamConfig
    ) -> None:
        self._socket = socket
        self._streams = streams
        self._settings = streams.settings
        self._request = request
        self._config = config
        self._writer = SocketWriter(socket, streams.settings)
        query = request.query
        self._splitter = Splitter(query.sample_bytes, query.n_streams)
        self._channels = [
            StreamDriver(streams.decoder, streams.settings, self._new_pipeline(0.0))
            for _ in range(query.n_streams)
        ]
        self._n_open = len(self._channels)
        """Channels that are not done."""
        self._container: Container | None = None
        self._sha256 = hashlib.sha256()
        self._created = datetime.now(UTC)
        self._is_closing = False
        self._failure: ServiceError | None = None
        """What ends the request, sent after the text of all audio before it."""

    @property
    def lag(self) -> float:
        """Seconds that the latest of the channels is behind."""
        return max(channel.backlog for channel in self._channels)

    async def run(self, container: Container | None) -> None:
        """Serve the request to its end; raises `WebSocketDisconnect` if the client left.

        `container` reads what is sent, unless it is raw.
        """
        self._container = container
        loops = [self._receive_loop(), watch_drain(self._streams.draining)]
        loops += [self._send_loop(index) for index in range(len(self._channels))]
        if container is not None:
            loops.append(self._container_loop(container))
        await serve_socket(self._writer, loops, self._fail)

    def _new_pipeline(self, begin: float) -> StreamPipeline:
        config = self._config
        meter = self._streams.meter("listen", config.model_size)
        return StreamPipeline(config, state_at(config, begin), meter)

    # --- receiving

    async def _receive_loop(self) -> None:
        while True:
            message = await next_message(self._socket, self._settings, lambda: self._is_closing)
            if self._is_closing:
                continue  # only the disconnect matters now
            text, data = message.get("text"), message.get("bytes")
            if text is not None:
                try:
                    await self._handle_command(text)
                except InvalidMessage as error:
                    self._send(_schema_error(error, text))
            elif data:
                await self._receive_audio(data)
            else:
                self._close_stream()
            await self._writer.wait_for_room()

    async def _handle_command(self, text: str) -> None:
        kind, fields = _command(text)
        match kind:
            case "keepalive":
                pass
            case "finalize":
                for channel in self._finalized(fields):
                    channel.next_turn(self._new_pipeline)
                    await channel.wait_for_room()
            case "configure":
                self._send(configured(self._request, fields))
            case "closestream":
                self._close_stream()

    def _finalized(self, fields: Mapping[str, Any]) -> list[Driver]:
        """The channels that a message is for: the one it names, as N or [N] or [N, of how many], or
        all."""
        named = fields.get("channel")
        index = named[0] if isinstance(named, list) and named else named
        if index is None:
            return self._channels
        if type(index) is not int or not 0 <= index < len(self._channels):
            raise InvalidMessage(
                f"`channel` is {shown(named)!r}; allowed is 0 to {len(self._channels) - 1}."
            )
        return [self._channels[index]]

    async def _receive_audio(self, data: bytes) -> None:
        self._sha256.update(data)
        if self._container is not None:
            await self._container.feed(data)
            return
        try:
            for channel, part in zip(self._channels, self._splitter.split(data), strict=True):
                await channel.receive_audio(channel.last.read(part))
        except AudioTooLong as error:
            self._end_audio(error)

    async def _container_loop(self, container: Container) -> None:
        (channel,) = self._channels
        self._end_audio(await channel.receive_container(container))

    def _close_stream(self) -> None:
        self._is_closing = True
        if self._container is not None:
            self._container.end()  # the rest is still in ffmpeg
        else:
            self._end_audio(None)

    def _end_audio(self, failure: ServiceError | None) -> None:
        self._is_closing = True
        self._failure = failure
        for channel in self._channels:
            channel.stop()

    # --- sending

    async def _send_loop(self, index: int) -> None:
        channel, results = self._channels[index], ChannelResults(self._request, index)
        async with aclosing(channel.events()) as steps:
            async for pipeline, events in steps:
                is_finalizing = pipeline is not channel.last
                for message in results.messages(events, is_finalizing=is_finalizing):
                    self._send(message)
                for message in results.tick(channel.last.plan.received):
                    self._send(message)
        self._n_open -= 1
        if self._n_open == 0:
            self._end(channel.last.plan.received)

    def _end(self, duration: float) -> None:
        if self._failure is not None:
            return self._fail(self._failure)
        self._send(
            {
                "type": "Metadata",
                "transaction_key": "deprecated",
                "request_id": self._request.id,
                "sha256": self._sha256.hexdigest(),
                "created": self._created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "duration": round(duration, 3),
                "channels": self._request.query.channels,
            }
        )
        return self._writer.close(1000, "")

    def _send(self, message: Message) -> None:
        self._writer.send(json.dumps(message, ensure_ascii=False))

    def _fail(self, failure: ServiceError) -> None:
        """Deepgram says what ended a request in the close alone."""
        if isinstance(failure, IdleTimeout):
            self._writer.close(1011, "NET-0001")
        elif isinstance(failure, InvalidAudio):
            self._writer.close(1008, "DATA-0000")
        else:
            self._writer.close(failure.ws_close_code, failure.code)


def _command(text: str) -> tuple[str, dict[str, Any]]:
    """The name of a message, in lower case as some clients write it, and the message."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidMessage("A text message has to be JSON, and this one is not.") from None
    if not isinstance(fields, dict):
        raise InvalidMessage("A text message has to be a JSON object, in braces.")
    kind = fields.get("type")
    name = kind.replace("_", "").lower() if isinstance(kind, str) else ""
    if name not in (allowed.lower() for allowed in _COMMANDS):
        raise InvalidMessage(f"`type` is {shown(kind)!r}; allowed are {', '.join(_COMMANDS)}.")
    return name, fields


def _schema_error(error: InvalidMessage, text: str) -> Message:
    """What Deepgram says to a text message that is none of its; the request goes on."""
    return {
        "type": "Error",
        "variant": "SchemaError",
        "description": error.message,
        "message": shown(text),
    }


def deepgram_router(streams: LiveStreams) -> APIRouter:
    """The socket's route. A refusal before the handshake is an HTTP answer with `dg-error`."""
    router = APIRouter()

    @router.websocket("/v1/listen")
    async def listen(socket: WebSocket) -> None:
        request_id = str(uuid.uuid4())
        name_session(request_id)
        try:
            await _serve(socket, streams, request_id)
        except WebSocketDisconnect as gone:
            logger.info("A Deepgram client left (%s)", gone.code)

    return router


async def _serve(socket: WebSocket, streams: LiveStreams, request_id: str) -> None:
    query = parse_query(given(socket.query_params, LISTS))
    with streams.admit(query.n_streams):
        model = await resolve_model(streams.decoder, streams.settings, query.model)
        config = query.stream_config(model)
        await check_model(streams.decoder, config.model_size, config.decode)
        request = Request(request_id, config.model_size, query)
        serving = LiveRequest(socket, streams, request, config)
        async with streams.container(config) as container:
            with streams.open("listen", config.model_size, lambda: serving.lag):
                await socket.accept(headers=[(b"dg-request-id", request_id.encode())])
                await serving.run(container)
