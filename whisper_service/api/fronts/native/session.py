"""One live stream of /stream, from `ready` to the close: its commands in, its messages out."""

import asyncio
from contextlib import aclosing

from starlette.websockets import WebSocket

from whisper_service.api.fronts.native.message_encoder import LagWatch, MessageEncoder
from whisper_service.api.fronts.native.messages import Finalize, Stop, parse_command
from whisper_service.api.live.driver import StreamDriver
from whisper_service.api.live.pipeline import StreamPipeline
from whisper_service.api.live.socket import next_message, serve_socket, watch_drain
from whisper_service.api.live.streams import LiveStreams
from whisper_service.api.live.writer import SocketWriter
from whisper_service.audio.container import Container
from whisper_service.errors import AudioTooLong, Restarting, ServiceError, StreamTooFast
from whisper_service.policy.stream_events import Done, Event

LAG_WARNING = 5.0
"""Seconds of audio waiting from which a client is told that its stream falls behind."""


class StreamSession:
    """One client's stream. Make it, then `run()` it once."""

    def __init__(
        self,
        socket: WebSocket,
        streams: LiveStreams,
        pipeline: StreamPipeline,
        encoder: MessageEncoder,
    ) -> None:
        self._socket = socket
        self._streams = streams
        self._settings = streams.settings
        self._encoder = encoder
        self._driver = StreamDriver(streams.decoder, streams.settings, pipeline)
        self._writer = SocketWriter(socket, streams.settings)
        self._lag = LagWatch(LAG_WARNING)
        self._container: Container | None = None
        self._is_stopped = False
        """What the client sends now does not matter any more."""
        self._failure: ServiceError | None = None
        """What ends the stream, sent after the events that the plan still has."""

    @property
    def lag(self) -> float:
        """Seconds of audio that wait longer than the client's settings ask for."""
        return self._driver.backlog

    async def run(self, container: Container | None) -> None:
        """Serve the stream until its end; raises `WebSocketDisconnect` if the client left.

        `container` reads what is sent, unless it is raw. Errors are sent to the client and end
        here. Whatever is in flight when this returns or raises has been cancelled.
        """
        self._container = container
        self._writer.send(self._encoder.ready())
        loops = [self._receive_loop(), self._send_loop(), watch_drain(self._streams.draining)]
        if container is not None:
            loops.append(self._container_loop(container))
        await serve_socket(self._writer, loops, self._fail)

    # --- receiving

    async def _receive_loop(self) -> None:
        while True:
            message = await next_message(self._socket, self._settings, lambda: self._is_stopped)
            if self._is_stopped:
                continue  # only the disconnect matters now
            text, data = message.get("text"), message.get("bytes")
            if text is not None:
                self._handle_command(text)
            elif data and self._container is not None:
                await self._container.feed(data)
            elif data:
                await self._receive_audio(data)
            else:
                self._stop()
            await self._writer.wait_for_room()

    def _handle_command(self, text: str) -> None:
        command = parse_command(text)
        if isinstance(command, Stop):
            self._stop()
        elif isinstance(command, Finalize):
            self._driver.finalize()

    async def _receive_audio(self, data: bytes) -> None:
        try:
            await self._driver.receive_audio(self._driver.last.read(data))
        except AudioTooLong as error:
            self._end_audio(error)

    async def _container_loop(self, container: Container) -> None:
        self._end_audio(await self._driver.receive_container(container))

    def _stop(self) -> None:
        self._is_stopped = True
        if self._container is not None:
            self._container.end()  # the rest is still in ffmpeg
        else:
            self._end_audio(None)

    def _end_audio(self, failure: ServiceError | None) -> None:
        self._is_stopped = True
        self._failure = failure
        self._driver.stop()

    # --- sending

    async def _send_loop(self) -> None:
        async with aclosing(self._driver.events()) as steps:
            async for pipeline, events in steps:
                for event in events:
                    self._send(event)
                lag = pipeline.plan.backlog
                if self._lag.should_warn(lag, asyncio.get_running_loop().time()):
                    self._writer.send(self._encoder.warning(lag))

    def _send(self, event: Event) -> None:
        if isinstance(event, Done) and self._failure is not None:
            self._fail(self._failure)
            return
        self._writer.send(self._encoder.event(event))
        if isinstance(event, Done):
            self._writer.close(1000, "done")

    def _fail(self, failure: ServiceError) -> None:
        if isinstance(failure, (Restarting, StreamTooFast)):
            failure = self._resumable(failure)
        self._writer.send(self._encoder.error(failure))
        self._writer.close(failure.ws_close_code, failure.code)

    def _resumable(self, failure: ServiceError) -> ServiceError:
        """The same, with what the client needs to go on elsewhere or later."""
        return type(failure)(
            f"{failure.message} Go on with `resume` as the first message, and the audio from"
            " `offset` on.",
            retry_after=failure.retry_after,
            resume=self._encoder.resume_token,
            offset=self._encoder.offset,
            **failure.details,
        )
