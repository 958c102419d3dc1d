"""WS /v1/realtime: transcription sessions, once the handshake is done.

A session is a row of stream plans: each commit ends one and begins the next. Turns become events in
turns.py, configurations are read in transcription_session.py.
"""

import json
import secrets
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import asdict
from itertools import chain

from starlette.types import Message
from starlette.websockets import WebSocket

from whisper_service.api.catalog import check_model, resolve_model
from whisper_service.api.fronts.openai.commands import UPDATES, Command, UnknownEvent, parse
from whisper_service.api.fronts.openai.transcription_session import (
    Notice,
    TranscriptionSession,
    is_flat,
)
from whisper_service.api.fronts.openai.turns import (
    Chain,
    CommittedTurn,
    DetectedTurns,
    ServerEvent,
    error_event,
    server_event,
)
from whisper_service.api.live.driver import StreamDriver, is_passing
from whisper_service.api.live.latency_meter import StreamMeter
from whisper_service.api.live.pipeline import StreamPipeline, state_at
from whisper_service.api.live.socket import next_message, serve_socket, watch_drain
from whisper_service.api.live.streams import LiveStreams, OpenStream
from whisper_service.api.live.writer import SocketWriter
from whisper_service.api.log_context import name_session
from whisper_service.errors import (
    InvalidMessage,
    InvalidParameter,
    InvalidRequest,
    ModelUnavailable,
    ServiceError,
)
from whisper_service.policy.stream_events import StreamState
from whisper_service.types import StreamConfig

LEAST = 0.1
"""Seconds; OpenAI refuses to commit less."""
_FAULTS = (InvalidMessage, InvalidParameter, InvalidRequest, ModelUnavailable)
"""Errors of one event; the session stays open, as OpenAI's does."""


class TurnPipeline(StreamPipeline):
    """A pipeline with the turns that are made of its events."""

    def __init__(
        self,
        config: StreamConfig,
        state: StreamState,
        meter: StreamMeter,
        turns: DetectedTurns | CommittedTurn,
    ) -> None:
        super().__init__(config, state, meter)
        self.turns = turns


class RealtimeSession:
    """One client's session. Make it, then `run()` it once."""

    def __init__(
        self,
        socket: WebSocket,
        streams: LiveStreams,
        session: TranscriptionSession,
        model: str,
        *,
        is_flat: bool,
    ) -> None:
        self._socket = socket
        self._streams = streams
        self._settings = streams.settings
        self._session, self._model = session, model
        """The model by the service's name, which the client may have asked for by another."""
        self._writer = SocketWriter(socket, streams.settings)
        self._id = f"sess_{secrets.token_hex(10)}"
        self._chain = Chain(is_flat=is_flat)
        first = self._new_pipeline(0.0)
        self._driver = StreamDriver(streams.decoder, streams.settings, first)

    @property
    def lag(self) -> float:
        """Seconds of audio that wait longer than they should."""
        return self._driver.backlog

    async def run(self, stream: OpenStream) -> None:
        """Serve the session to its end; raises `WebSocketDisconnect` if the client left."""
        name_session(self._id)
        self._open_stream = stream
        name = "transcription_session" if self._chain.is_flat else "session"
        self._send_session(f"{name}.created")
        loops = [self._receive_loop(), self._send_loop(), watch_drain(self._streams.draining)]
        await serve_socket(self._writer, loops, self._fail)

    # --- receiving

    async def _receive_loop(self) -> None:
        while True:
            message = await next_message(self._socket, self._settings, self._is_waiting)
            cause = None
            try:
                command = self._parse(message)
                cause = command.event_id
                await self._handle_command(command)
            except UnknownEvent as error:
                self._send(error_event(error, error.details["event_id"]))
            except _FAULTS as error:
                self._send(error_event(error, cause))
            await self._writer.wait_for_room()

    def _is_waiting(self) -> bool:
        """The client waits for a turn that was committed."""
        return self._driver.first is not self._driver.last

    def _parse(self, message: Message) -> Command:
        text: str | None = message.get("text")
        if text is None:
            raise InvalidMessage(
                "Events are text; audio goes, in base64, into input_audio_buffer.append."
            )
        return parse(text)

    async def _handle_command(self, command: Command) -> None:
        match command.name.removeprefix("input_audio_buffer."):
            case "append":
                await self._driver.receive_audio(self._driver.last.read(command.audio()))
            case "commit":
                self._commit()
            case "clear":
                self._driver.replace_last(self._new_pipeline(self._driver.last.plan.received))
                self._send(server_event("input_audio_buffer.cleared"))
            case _:
                await self._update(command)

    def _commit(self) -> None:
        pipeline = self._driver.last
        if pipeline.read_seconds < LEAST:
            raise CommitEmpty(
                f"The input audio buffer holds {pipeline.read_seconds * 1000:.0f} ms of audio;"
                f" allowed to commit is {LEAST * 1000:.0f} ms or more."
            )
        self._driver.next_turn(self._new_pipeline)
        for event in pipeline.turns.commit(pipeline.plan.received):
            self._send(event)

    async def _update(self, command: Command) -> None:
        patch = command.session()
        session, notices = self._session.taking(patch)
        model = await resolve_model(self._streams.decoder, self._settings, session.model)
        config = session.stream_config(model)
        await check_model(self._streams.decoder, config.model_size, config.decode)
        pipeline = self._driver.last
        is_same = config == pipeline.config and session.turns == self._session.turns
        if not is_same and self._session.is_manual and pipeline.read_seconds:
            raise InvalidMessage(
                "The session cannot change while audio waits for a commit; commit or clear it.",
                param="session",
            )
        self._session, self._model = session, model
        self._chain.is_flat = UPDATES[command.name] or is_flat(patch)
        self._send_session(f"{command.name}d", notices)  # in the words it was asked in
        if is_same:
            return
        self._open_stream.switch_model(config.model_size)
        if pipeline.read_seconds:  # speech that is under way ends as a turn
            self._driver.next_turn(self._new_pipeline)
        else:
            self._driver.replace_last(self._new_pipeline(pipeline.begin))

    def _new_pipeline(self, begin: float) -> TurnPipeline:
        config = self._session.stream_config(self._model)
        detection = self._session.turns
        turns = (
            CommittedTurn(self._chain, begin)
            if detection is None
            else DetectedTurns(self._chain, detection.prefix_padding_ms)
        )
        meter = self._streams.meter("realtime", config.model_size)
        return TurnPipeline(config, state_at(config, begin), meter, turns)

    # --- sending

    async def _send_loop(self) -> None:
        """Send for ever: a turn that fails is told, and the session goes on."""
        while True:
            try:
                await self._send_events()
            except ServiceError as error:
                if is_passing(error):  # it did not pass
                    raise
                self._drop(error)

    async def _send_events(self) -> None:
        async with aclosing(self._driver.events()) as steps:
            async for pipeline, events in steps:
                for event in chain.from_iterable(map(pipeline.turns.events, events)):
                    self._send(event)

    def _drop(self, error: ServiceError) -> None:
        pipeline = self._driver.first
        for event in pipeline.turns.fail(error):
            self._send(event)
        if pipeline is self._driver.last:
            self._driver.replace_last(self._new_pipeline(pipeline.plan.received))
        else:
            self._driver.drop_first()

    def _send(self, event: ServerEvent) -> None:
        self._writer.send(json.dumps(event, ensure_ascii=False))

    def _send_session(self, name: str, notices: Sequence[Notice] = ()) -> None:
        shown = self._session.shown(self._id, is_flat=self._chain.is_flat)
        warnings = {"warnings": [asdict(notice) for notice in notices]} if notices else {}
        self._send(server_event(name, session=shown, **warnings))

    def _fail(self, failure: ServiceError) -> None:
        self._send(error_event(failure))
        self._writer.close(failure.ws_close_code, failure.code)


class CommitEmpty(InvalidMessage):
    """A commit of no audio."""

    code = "input_audio_buffer_commit_empty"
