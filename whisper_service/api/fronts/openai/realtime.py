"""WS /v1/realtime: transcription sessions, once the handshake is done.

A session is a row of stream plans: each commit ends one and begins the next. Turns become events in
turns.py, configurations are read in transcription_session.py.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict

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
from whisper_service.api.live.driver import StreamRunner, is_passing
from whisper_service.api.live.pipeline import PlanRun, state_at
from whisper_service.api.live.socket import converse, next_message, watch_drain
from whisper_service.api.live.streams import LiveStreams, OpenStream
from whisper_service.api.live.writer import Outlet
from whisper_service.api.log_context import name_session
from whisper_service.errors import (
    InvalidMessage,
    InvalidParameter,
    InvalidRequest,
    ModelUnavailable,
    ServiceError,
)
from whisper_service.policy.stream_events import Event

LEAST = 0.1
"""Seconds; OpenAI refuses to commit less."""
_FAULTS = (InvalidMessage, InvalidParameter, InvalidRequest, ModelUnavailable)
"""Errors of one event; the session stays open, as OpenAI's does."""

Run = PlanRun[DetectedTurns | CommittedTurn]


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
        self._outlet = Outlet(socket, streams.settings)
        self._id = f"sess_{secrets.token_hex(10)}"
        self._chain = Chain(is_flat=is_flat)
        first = self._new_run(0.0)
        self._runner = StreamRunner(streams.decoder, streams.settings, first, self._tell)

    @property
    def lag(self) -> float:
        """Seconds of audio that wait longer than they should."""
        return self._runner.backlog

    async def run(self, stream: OpenStream) -> None:
        """Serve the session to its end; raises `WebSocketDisconnect` if the client left."""
        name_session(self._id)
        self._open_stream = stream
        name = "transcription_session" if self._chain.is_flat else "session"
        self._say_session(f"{name}.created")
        loops = [self._receive_loop(), self._decode_loop(), watch_drain(self._streams.draining)]
        await converse(self._outlet, loops, self._fail)

    # --- receiving

    async def _receive_loop(self) -> None:
        while True:
            message = await next_message(self._socket, self._settings, self._is_owed)
            cause = None
            try:
                command = self._parse(message)
                cause = command.event_id
                await self._obey(command)
            except UnknownEvent as error:
                self._say(error_event(error, error.details["event_id"]))
            except _FAULTS as error:
                self._say(error_event(error, cause))
            await self._outlet.room()

    def _is_owed(self) -> bool:
        """A turn was committed and is not told yet."""
        return self._runner.first is not self._runner.last

    def _parse(self, message: Message) -> Command:
        text: str | None = message.get("text")
        if text is None:
            raise InvalidMessage(
                "Events are text; audio goes, in base64, into input_audio_buffer.append."
            )
        return parse(text)

    async def _obey(self, command: Command) -> None:
        match command.name.removeprefix("input_audio_buffer."):
            case "append":
                await self._runner.hear_bytes(command.audio())
            case "commit":
                self._commit()
            case "clear":
                self._runner.replace_last(self._new_run(self._runner.last.plan.received))
                self._say(server_event("input_audio_buffer.cleared"))
            case _:
                await self._update(command)

    def _commit(self) -> None:
        run = self._runner.last
        if run.read_seconds < LEAST:
            raise CommitEmpty(
                f"The input audio buffer holds {run.read_seconds * 1000:.0f} ms of audio; allowed"
                f" to commit is {LEAST * 1000:.0f} ms or more."
            )
        self._runner.next_turn(self._new_run)
        for event in run.translator.commit(run.plan.received):
            self._say(event)

    async def _update(self, command: Command) -> None:
        patch = command.session()
        session, notices = self._session.taking(patch)
        model = await resolve_model(self._streams.decoder, self._settings, session.model)
        config = session.stream_config(model)
        await check_model(self._streams.decoder, config.model_size, config.decode)
        run = self._runner.last
        is_same = config == run.config and session.turns == self._session.turns
        if not is_same and self._session.is_manual and run.read_seconds:
            raise InvalidMessage(
                "The session cannot change while audio waits for a commit; commit or clear it.",
                param="session",
            )
        self._session, self._model = session, model
        self._chain.is_flat = UPDATES[command.name] or is_flat(patch)
        self._say_session(f"{command.name}d", notices)  # in the words it was asked in
        if is_same:
            return
        self._open_stream.use(config.model_size)
        if run.read_seconds:  # speech that is under way ends as a turn
            self._runner.next_turn(self._new_run)
        else:
            self._runner.replace_last(self._new_run(run.begin))

    def _new_run(self, begin: float) -> Run:
        config = self._session.stream_config(self._model)
        detection = self._session.turns
        turns = (
            CommittedTurn(self._chain, begin)
            if detection is None
            else DetectedTurns(self._chain, detection.prefix_padding_ms)
        )
        watch = self._streams.watch("realtime", config.model_size)
        return PlanRun(config, state_at(config, begin), turns, watch)

    # --- decoding

    async def _decode_loop(self) -> None:
        """Decode for ever: a turn that cannot be had is told, and the session goes on."""
        while True:
            try:
                await self._runner.decode()
            except ServiceError as error:
                if is_passing(error):  # it did not pass
                    raise
                self._drop(error)

    def _drop(self, error: ServiceError) -> None:
        run = self._runner.first
        for event in run.translator.fail(error):
            self._say(event)
        if run is self._runner.last:
            self._runner.replace_last(self._new_run(run.plan.received))
        else:
            self._runner.drop_first()

    # --- sending

    def _tell(self, run: Run, events: list[Event]) -> None:
        for event in events:
            for told in run.translator.events(event):
                self._say(told)

    def _say(self, event: ServerEvent) -> None:
        self._outlet.say(json.dumps(event, ensure_ascii=False))

    def _say_session(self, name: str, notices: Sequence[Notice] = ()) -> None:
        shown = self._session.shown(self._id, is_flat=self._chain.is_flat)
        warnings = {"warnings": [asdict(notice) for notice in notices]} if notices else {}
        self._say(server_event(name, session=shown, **warnings))

    def _fail(self, failure: ServiceError) -> None:
        self._say(error_event(failure))
        self._outlet.close(failure.ws_close_code, failure.code)


class CommitEmpty(InvalidMessage):
    """A commit of no audio."""

    code = "input_audio_buffer_commit_empty"
