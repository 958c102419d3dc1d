"""WS /v1/realtime: transcription sessions, from the handshake to the close.

A session is a row of stream plans: each commit ends one and begins the next. Three loops, as in
`StreamSession`: receiving obeys and hears, decoding serves the plans one after the other, sending
alone writes. Turns become events in turns.py, configurations are read in transcription_session.py.
"""

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import Message
from starlette.websockets import WebSocket

from whisper_service.api.catalog import check_model
from whisper_service.api.decoder import Decoder
from whisper_service.api.openai.commands import UPDATES, Command, UnknownEvent, parse
from whisper_service.api.openai.transcription_session import TranscriptionSession, is_flat
from whisper_service.api.openai.turns import (
    Chain,
    CommittedTurn,
    DetectedTurns,
    ServerEvent,
    error_event,
    server_event,
)
from whisper_service.api.outlet import Outlet, converse, next_message, watch_drain
from whisper_service.api.session import CATCH_UP, SLICE, Retry
from whisper_service.audio.pcm import PcmReader
from whisper_service.audio.resample import Resampler
from whisper_service.audio.vad import make_detector
from whisper_service.errors import (
    AudioTooLong,
    InvalidMessage,
    InvalidParameter,
    InvalidRequest,
    ModelUnavailable,
    ServiceError,
    StreamTooFast,
    Unavailable,
)
from whisper_service.policy.events import StreamState
from whisper_service.policy.stream import StreamPlan
from whisper_service.settings import Settings
from whisper_service.types import SAMPLE_RATE, Audio, StreamConfig

LEAST = 0.1
"""Seconds; OpenAI refuses to commit less."""
MAX_TURNS = 32
"""Turns that may wait to be decoded; more are pressed than spoken."""
_FAULTS = (InvalidMessage, InvalidParameter, InvalidRequest, ModelUnavailable)
"""Errors of one event; the session stays open, as OpenAI's does."""


@dataclass(slots=True, eq=False)
class _Run:
    """A plan, what turns its bytes into samples, and what becomes of its events."""

    plan: StreamPlan
    turns: DetectedTurns | CommittedTurn
    config: StreamConfig
    begin: float
    sample_rate: int = field(init=False)
    pcm: PcmReader = field(init=False)
    resampler: Resampler = field(init=False)
    n_samples: int = 0
    """Received, at the rate they were sent."""

    def __post_init__(self) -> None:
        assert self.config.pcm is not None  # a session's audio is always raw
        self.sample_rate = self.config.pcm.sample_rate
        self.pcm = PcmReader(self.config.pcm)
        self.resampler = Resampler(self.sample_rate)

    @property
    def heard(self) -> float:
        """Seconds of audio it was given."""
        return self.n_samples / self.sample_rate

    def read(self, data: bytes) -> Audio:
        """Bytes to samples for the plan."""
        samples = self.pcm.read(data)
        self.n_samples += len(samples)
        return self.resampler.push(samples)

    def stop(self) -> None:
        """Give it what the resampler still holds, and no more."""
        rest = self.resampler.flush()
        if len(rest):
            self.plan.receive_audio(rest)
        self.plan.stop()


class RealtimeSession:
    """One client's session. Make it, then `run()` it once."""

    def __init__(
        self,
        socket: WebSocket,
        decoder: Decoder,
        session: TranscriptionSession,
        settings: Settings,
        draining: Callable[[], bool],
        *,
        is_flat: bool,
    ) -> None:
        self._socket = socket
        self._decoder = decoder
        self._session = session
        self._settings = settings
        self._draining = draining
        self._outlet = Outlet(socket, settings.stream_idle_timeout)
        self._id = f"sess_{secrets.token_hex(10)}"
        self._chain = Chain(is_flat=is_flat)
        self._has_work = asyncio.Event()
        self._has_caught_up = asyncio.Event()
        self._runs = deque([self._new_run(0.0)])
        """The last one hears; the first one is decoded."""

    async def run(self) -> None:
        """Serve the session to its end; raises `WebSocketDisconnect` if the client left."""
        name = "transcription_session" if self._chain.is_flat else "session"
        self._say_session(f"{name}.created")
        loops = [self._receive_loop(), self._decode_loop(), watch_drain(self._draining)]
        await converse(self._outlet, loops, self._fail)

    # --- receiving

    async def _receive_loop(self) -> None:
        while True:
            message = await next_message(self._socket, self._settings)
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
                await self._hear(command.audio())
            case "commit":
                self._commit()
            case "clear":
                self._runs[-1] = self._new_run(self._runs[-1].plan.received)
                self._say(server_event("input_audio_buffer.cleared"))
            case _:
                await self._update(command)
        self._has_work.set()

    async def _hear(self, data: bytes) -> None:
        samples = self._runs[-1].read(data)
        for start in range(0, len(samples), SLICE):
            await self._hear_slice(samples[start : start + SLICE])
        limit = self._settings.max_stream_seconds
        if self._runs[-1].plan.received > limit:
            raise AudioTooLong(
                f"The session has {limit:g} s of audio, all that one may have.", max_duration=limit
            )

    async def _hear_slice(self, samples: Audio) -> None:
        # Asked for anew: another run may have taken the place of one that failed.
        self._runs[-1].plan.receive_audio(samples)
        self._tell(self._runs[0])
        self._has_work.set()
        limit = self._settings.max_stream_backlog
        try:
            async with asyncio.timeout(CATCH_UP):
                while self._backlog() > limit or len(self._runs) > MAX_TURNS:
                    self._has_caught_up.clear()
                    await self._has_caught_up.wait()
        except TimeoutError:
            raise StreamTooFast(
                f"More than {limit:g} s of audio, or {MAX_TURNS} turns, wait to be decoded. Send no"
                " faster than real time.",
                max_seconds=limit,
            ) from None
        await asyncio.sleep(0)

    def _backlog(self) -> float:
        return sum(run.plan.backlog for run in self._runs)

    def _commit(self) -> None:
        run = self._runs[-1]
        if run.heard < LEAST:
            raise CommitEmpty(
                f"The input audio buffer holds {run.heard * 1000:.0f} ms of audio; allowed to"
                f" commit is {LEAST * 1000:.0f} ms or more."
            )
        self._end_run(run)

    def _end_run(self, run: _Run) -> None:
        run.stop()
        for event in run.turns.commit(run.plan.received):
            self._say(event)
        self._runs.append(self._new_run(run.plan.received))

    async def _update(self, command: Command) -> None:
        patch = command.session()
        session = self._session.updated(patch)
        config = session.stream_config(self._settings.default_model)
        await check_model(self._decoder, config.model_size, config.decode)
        run = self._runs[-1]
        is_same = config == run.config and session.is_manual == self._session.is_manual
        if not is_same and self._session.is_manual and run.heard:
            raise InvalidMessage(
                "The session cannot change while audio waits for a commit; commit or clear it.",
                param="session",
            )
        self._session = session
        self._chain.is_flat = UPDATES[command.name] or is_flat(patch)
        self._say_session(f"{command.name}d")  # in the words it was asked in
        if is_same:
            return
        if run.heard:
            run.stop()  # speech that is under way ends as a turn
            self._runs.append(self._new_run(run.plan.received))
        else:
            self._runs[-1] = self._new_run(run.begin)

    def _new_run(self, begin: float) -> _Run:
        config = self._session.stream_config(self._settings.default_model)
        offset = round(begin * SAMPLE_RATE)
        state = StreamState(offset, 0, config.decode.language, 0.0, "")
        plan = StreamPlan(config, detector=make_detector(), resume=state)
        detection = self._session.audio.input.turn_detection
        turns = (
            CommittedTurn(self._chain, begin)
            if detection is None
            else DetectedTurns(self._chain, detection.prefix_padding_ms)
        )
        return _Run(plan, turns, config, begin)

    # --- decoding

    async def _decode_loop(self) -> None:
        retry = Retry(self._settings.stream_retry_timeout)
        while True:
            run = self._runs[0]
            job = run.plan.next_job()
            self._tell(run)
            if job is None and run.plan.is_done and run is not self._runs[-1]:
                self._runs.popleft()
            elif job is None:
                await self._has_work.wait()
                self._has_work.clear()
            else:
                try:
                    hypothesis = await self._decoder.decode(run.config.model_size, job)
                    retry.reset()
                    run.plan.receive_hypothesis(job, hypothesis)
                except ServiceError as error:
                    run.plan.abandon(job)
                    if not isinstance(error, Unavailable) or isinstance(error, ModelUnavailable):
                        self._drop(run, error)
                        continue
                    await retry.wait(error)
                self._has_caught_up.set()

    def _tell(self, run: _Run) -> None:
        if run not in self._runs:
            return  # cleared while it was decoded
        for event in run.plan.events():
            for told in run.turns.events(event):
                self._say(told)

    def _drop(self, run: _Run, error: ServiceError) -> None:
        """Tell that what a plan was about to say cannot be had, and go on without it."""
        if run not in self._runs:
            return
        for event in run.turns.fail(error):
            self._say(event)
        if run is self._runs[-1]:
            self._runs[-1] = self._new_run(run.plan.received)
        else:
            self._runs.popleft()

    # --- sending

    def _say(self, event: ServerEvent) -> None:
        self._outlet.say(json.dumps(event, ensure_ascii=False))

    def _say_session(self, name: str) -> None:
        shown = self._session.shown(self._id, is_flat=self._chain.is_flat)
        self._say(server_event(name, session=shown))

    def _fail(self, failure: ServiceError) -> None:
        self._say(error_event(failure))
        self._outlet.close(failure.ws_close_code, failure.code)


class CommitEmpty(InvalidMessage):
    """A commit of no audio."""

    code = "input_audio_buffer_commit_empty"
