"""One live stream of /stream, from `ready` to the close: its commands in, its messages out."""

import asyncio

from starlette.websockets import WebSocket

from whisper_service.api.fronts.native.encoder import Announcer, LagWatch
from whisper_service.api.fronts.native.messages import Finalize, Stop, parse_command
from whisper_service.api.live.driver import StreamRunner
from whisper_service.api.live.pipeline import PlanRun
from whisper_service.api.live.socket import converse, next_message, watch_drain
from whisper_service.api.live.streams import LiveStreams
from whisper_service.api.live.writer import Outlet
from whisper_service.audio.container import Container
from whisper_service.errors import AudioTooLong, Restarting, ServiceError, StreamTooFast
from whisper_service.policy.stream_events import Done, Event


class StreamSession:
    """One client's stream. Make it, then `run()` it once."""

    def __init__(self, socket: WebSocket, streams: LiveStreams, run: PlanRun[Announcer]) -> None:
        self._socket = socket
        self._streams = streams
        self._settings = streams.settings
        self._announcer = run.translator
        self._runner = StreamRunner(streams.decoder, streams.settings, run, self._tell)
        self._outlet = Outlet(socket, streams.settings)
        self._lag = LagWatch(streams.settings.stream_lag_warning)
        self._container: Container | None = None
        self._is_stopped = False
        """What the client sends now does not matter any more."""
        self._failure: ServiceError | None = None
        """What ends the stream, told after all that the plan still has to say."""

    @property
    def lag(self) -> float:
        """Seconds of audio that wait longer than the client's settings ask for."""
        return self._runner.backlog

    async def run(self, container: Container | None) -> None:
        """Serve the stream until its end; raises `WebSocketDisconnect` if the client left.

        `container` reads what is sent, unless it is raw. Errors are told to the client and end
        here. Whatever is in flight when this returns or raises has been cancelled.
        """
        self._container = container
        self._outlet.say(self._announcer.ready())
        loops = [self._receive_loop(), self._runner.decode(), watch_drain(self._streams.draining)]
        if container is not None:
            loops.append(self._container_loop(container))
        await converse(self._outlet, loops, self._fail)

    # --- receiving

    async def _receive_loop(self) -> None:
        while True:
            message = await next_message(self._socket, self._settings, lambda: self._is_stopped)
            if self._is_stopped:
                continue  # only the disconnect matters now
            text, data = message.get("text"), message.get("bytes")
            if text is not None:
                self._obey(text)
            elif data and self._container is not None:
                await self._container.feed(data)
            elif data:
                await self._hear(data)
            else:
                self._stop()
            await self._outlet.room()

    def _obey(self, text: str) -> None:
        command = parse_command(text)
        if isinstance(command, Stop):
            self._stop()
        elif isinstance(command, Finalize):
            self._runner.finalize()

    async def _hear(self, data: bytes) -> None:
        try:
            await self._runner.hear_bytes(data)
        except AudioTooLong as error:
            self._end_audio(error)

    async def _container_loop(self, container: Container) -> None:
        self._end_audio(await self._runner.hear_container(container))

    def _stop(self) -> None:
        self._is_stopped = True
        if self._container is not None:
            self._container.end()  # the rest is still in ffmpeg
        else:
            self._end_audio(None)

    def _end_audio(self, failure: ServiceError | None) -> None:
        self._is_stopped = True
        self._failure = failure
        self._runner.stop()

    # --- telling

    def _tell(self, run: PlanRun[Announcer], events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Done) and self._failure is not None:
                return self._fail(self._failure)
            self._outlet.say(self._announcer.event(event))
            if isinstance(event, Done):
                return self._outlet.close(1000, "done")
        if self._lag.should_warn(run.plan.backlog, asyncio.get_running_loop().time()):
            self._outlet.say(self._announcer.warning(run.plan.backlog))
        return None

    def _fail(self, failure: ServiceError) -> None:
        if isinstance(failure, (Restarting, StreamTooFast)):
            failure = self._resumable(failure)
        self._outlet.say(self._announcer.error(failure))
        self._outlet.close(failure.ws_close_code, failure.code)

    def _resumable(self, failure: ServiceError) -> ServiceError:
        """The same, with what the client needs to go on elsewhere or later."""
        return type(failure)(
            f"{failure.message} Go on with `resume` as the first message, and the audio from"
            " `offset` on.",
            retry_after=failure.retry_after,
            resume=self._announcer.resume_token,
            offset=self._announcer.offset,
            **failure.details,
        )
