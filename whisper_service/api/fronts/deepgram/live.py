"""WS /v1/listen: a request of Deepgram's live protocol, from the handshake to the close.

Each channel that is heard apart has plans of its own; a Finalize ends one and begins the next.
"""

import hashlib
import json
import logging
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from whisper_service.api.catalog import check_model, resolve_model
from whisper_service.api.fronts.deepgram.channels import Splitter
from whisper_service.api.fronts.deepgram.query import LISTS, parse_query
from whisper_service.api.fronts.deepgram.results import ChannelResults, Message, Request, configured
from whisper_service.api.http.errors import shown
from whisper_service.api.http.params import given
from whisper_service.api.live.driver import StreamRunner
from whisper_service.api.live.pipeline import PlanRun, state_at
from whisper_service.api.live.socket import converse, next_message, watch_drain
from whisper_service.api.live.streams import LiveStreams
from whisper_service.api.live.writer import Outlet
from whisper_service.api.log_context import name_session
from whisper_service.audio.container import Container
from whisper_service.errors import (
    AudioTooLong,
    IdleTimeout,
    InvalidAudio,
    InvalidMessage,
    ServiceError,
)
from whisper_service.policy.stream_events import Event
from whisper_service.types import StreamConfig

logger = logging.getLogger(__name__)

Runner = StreamRunner[ChannelResults]

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
        self._outlet = Outlet(socket, streams.settings)
        query = request.query
        self._splitter = Splitter(query.sample_bytes, query.n_streams)
        self._channels = [self._channel(index) for index in range(query.n_streams)]
        self._n_heard = len(self._channels)
        """Channels that have not said their last word."""
        self._container: Container | None = None
        self._sha256 = hashlib.sha256()
        self._created = datetime.now(UTC)
        self._is_closing = False
        self._failure: ServiceError | None = None
        """What ends the request, after all that was heard before it."""

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
        loops += [self._decode_loop(channel) for channel in self._channels]
        if container is not None:
            loops.append(self._container_loop(container))
        await converse(self._outlet, loops, self._fail)

    def _channel(self, index: int) -> Runner:
        first = self._new_run(ChannelResults(self._request, index), 0.0)
        return StreamRunner(self._streams.decoder, self._settings, first, self._tell)

    def _new_run(self, results: ChannelResults, begin: float) -> PlanRun[ChannelResults]:
        config = self._config
        watch = self._streams.watch("listen", config.model_size)
        return PlanRun(config, state_at(config, begin), results, watch)

    # --- receiving

    async def _receive_loop(self) -> None:
        while True:
            message = await next_message(self._socket, self._settings, lambda: self._is_closing)
            if self._is_closing:
                continue  # only the disconnect matters now
            text, data = message.get("text"), message.get("bytes")
            if text is not None:
                try:
                    await self._obey(text)
                except InvalidMessage as error:
                    self._say(_schema_error(error, text))
            elif data:
                await self._hear(data)
            else:
                self._close_stream()
            await self._outlet.room()

    async def _obey(self, text: str) -> None:
        kind, fields = _command(text)
        match kind:
            case "keepalive":
                pass
            case "finalize":
                for channel in self._finalized(fields):
                    channel.next_turn(partial(self._new_run, channel.last.translator))
                    await channel.room()
            case "configure":
                self._say(configured(self._request, fields))
            case "closestream":
                self._close_stream()

    def _finalized(self, fields: Mapping[str, Any]) -> list[Runner]:
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

    async def _hear(self, data: bytes) -> None:
        self._sha256.update(data)
        if self._container is not None:
            await self._container.feed(data)
            return
        try:
            for channel, part in zip(self._channels, self._splitter.split(data), strict=True):
                await channel.hear_bytes(part)
        except AudioTooLong as error:
            self._end_audio(error)

    async def _container_loop(self, container: Container) -> None:
        (channel,) = self._channels
        self._end_audio(await channel.hear_container(container))

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

    # --- telling

    async def _decode_loop(self, channel: Runner) -> None:
        await channel.decode()
        self._n_heard -= 1
        if self._n_heard == 0:
            self._end(channel.last.plan.received)

    def _tell(self, run: PlanRun[ChannelResults], events: list[Event]) -> None:
        results = run.translator
        channel = self._channels[results.index]
        is_finalizing = run is not channel.last
        for message in results.tell(events, is_finalizing=is_finalizing):
            self._say(message)
        for message in results.tick(channel.last.plan.received):
            self._say(message)

    def _end(self, duration: float) -> None:
        if self._failure is not None:
            return self._fail(self._failure)
        self._say(
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
        return self._outlet.close(1000, "")

    def _say(self, message: Message) -> None:
        self._outlet.say(json.dumps(message, ensure_ascii=False))

    def _fail(self, failure: ServiceError) -> None:
        """Deepgram tells what ends a request in the close alone."""
        if isinstance(failure, IdleTimeout):
            self._outlet.close(1011, "NET-0001")
        elif isinstance(failure, InvalidAudio):
            self._outlet.close(1008, "DATA-0000")
        else:
            self._outlet.close(failure.ws_close_code, failure.code)


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
