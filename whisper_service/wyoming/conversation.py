"""One Wyoming client from its connection to its end: events in, events out.

    transcribe, audio-start, audio-chunk ..., audio-stop
        → transcript-start, transcript-chunk ..., transcript, transcript-stop
    describe → info
    ping → pong

`transcribe` and `audio-start` may be left out. An error is one event, `error`, after which the
connection is closed: Home Assistant waits for a transcript or for that.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe
from wyoming.ping import Ping, Pong
from wyoming.server import AsyncEventHandler

from whisper_service.client.failure import ClientFailure, Refused
from whisper_service.errors import InternalError, InvalidMessage, Overloaded, ServiceError
from whisper_service.wyoming.description import describe
from whisper_service.wyoming.events import EventReader
from whisper_service.wyoming.utterance import Service, Utterance

logger = logging.getLogger(__name__)

_IDLE = 60.0
"""Seconds between two events of a client that is owed nothing, as on the service's sockets."""
_WRITE_TIMEOUT = 10.0
"""Seconds for a client to take one event."""
_MAX_WAITING = 1000
"""Events that may wait for a client that does not read: an utterance of five minutes has fewer."""
_LINGER = 5.0
"""Seconds that a refused client's audio is still read and dropped. Closed at once, its side of the
connection would be reset, and the error in it lost."""


class Door:
    """Counts the connections that are open, and lets in no more than so many."""

    def __init__(self, max_connections: int) -> None:
        """Raises `ValueError` for less than one."""
        if max_connections < 1:
            raise ValueError(f"--max-connections has to be at least one, not {max_connections}")
        self._max = max_connections
        self.n_open = 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Hold a place. Raises `Overloaded` if there is none."""
        if self.n_open >= self._max:
            raise Overloaded(f"All {self._max} connections are taken; try again.", limit=self._max)
        self.n_open += 1
        try:
            yield
        finally:
            self.n_open -= 1


class Conversation(AsyncEventHandler):
    """What the library's server makes for each client, and runs."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        door: Door,
        service: Service,
    ) -> None:
        super().__init__(reader, writer)
        self._door = door
        self._service = service
        self._events = EventReader(reader)
        self._outbox: asyncio.Queue[Event | None] = asyncio.Queue(_MAX_WAITING)
        self._request = Transcribe()
        self._utterance: Utterance | None = None
        """Of the latest audio."""
        self._answering: asyncio.Task[None] | None = None
        """What tells its text."""
        self._group: asyncio.TaskGroup
        """Runs while the client is there."""

    async def run(self) -> None:
        """Serve the client until it leaves, or was told an error; raises nothing of ours."""
        try:
            with self._door.admit():
                if failure := await self._serve():
                    await self._tell(failure)
                    await self._linger()
        except Overloaded as full:
            with suppress(OSError):
                await self._tell(error_of(full))
        except (OSError, EOFError) as gone:
            logger.info("A client left: %s", gone or type(gone).__name__)
        finally:
            self.writer.close()

    async def _serve(self) -> Error | None:
        """Returns what ended the conversation, if it was not the client."""
        failure: Error | None = None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write())
                await self._read(group)
        except* (ServiceError, ClientFailure) as failures:
            failure = error_of(failures.exceptions[0])
        except* (OSError, EOFError) as gone:
            logger.info("A client left: %s", gone.exceptions[0])
        except* Exception:  # the bridge's shell: a bug must not reach the client
            logger.exception("A conversation failed")
            failure = error_of(InternalError())
        return failure

    async def _read(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        while event := await self._events.next(self._idle_limit):
            await self.handle_event(event)
        if self._answering is not None:
            if not self._is_owed:
                self._answering.cancel()
            await asyncio.wait({self._answering})  # a client may close its half, and still read
        self._send(None)

    async def handle_event(self, event: Event) -> bool:
        """Do what the client wants; unknown events are let go, as the protocol has it."""
        if Describe.is_type(event.type):
            service = self._service
            self._send((await describe(service.url, service.key, service.model)).event())
        elif Ping.is_type(event.type):
            self._send(Pong(Ping.from_event(event).text).event())
        elif Transcribe.is_type(event.type):
            self._request = Transcribe.from_event(event)
        elif AudioStart.is_type(event.type):
            await self._begin()
        elif AudioChunk.is_type(event.type):
            (await self._current()).append(_audio_of(event))
        elif AudioStop.is_type(event.type):
            (await self._current()).end()
            self._request = Transcribe()
        return True

    async def _current(self) -> Utterance:
        """The utterance that is under way; a new one after the last has ended."""
        if self._utterance is None or self._utterance.has_ended:
            return await self._begin()
        return self._utterance

    async def _begin(self) -> Utterance:
        """Begin an utterance, once the text of the one before is told; one that never ended is
        given up."""
        if self._answering is not None:
            if not self._is_owed:
                self._answering.cancel()
            await asyncio.wait({self._answering})
        self._utterance = Utterance(self._service, self._request, self._send)
        self._answering = self._group.create_task(self._utterance.run())
        return self._utterance

    @property
    def _idle_limit(self) -> float:
        return _IDLE + (self._service.limits.answer_timeout if self._is_owed else 0.0)

    @property
    def _is_owed(self) -> bool:
        """Whether the client waits for a transcript, and not we for its audio."""
        return (
            self._utterance is not None
            and self._utterance.has_ended
            and self._answering is not None
            and not self._answering.done()
        )

    def _send(self, event: Event | None) -> None:
        """None: the end, after all that waits."""
        try:
            self._outbox.put_nowait(event)
        except asyncio.QueueFull:
            raise ConnectionError("it does not read what it is sent") from None

    async def _write(self) -> None:
        while (event := await self._outbox.get()) is not None:
            async with asyncio.timeout(_WRITE_TIMEOUT):
                await self.write_event(event)

    async def _tell(self, error: Error) -> None:
        logger.warning("A client was told: %s", error.text)
        async with asyncio.timeout(_WRITE_TIMEOUT):
            await self.write_event(error.event())

    async def _linger(self) -> None:
        if self.writer.can_write_eof():
            self.writer.write_eof()  # nothing follows the error
        if self._utterance is not None and self._utterance.has_ended:
            return
        with suppress(TimeoutError, ServiceError):
            async with asyncio.timeout(_LINGER):
                while event := await self._events.next(_LINGER):
                    if AudioStop.is_type(event.type):
                        return


def error_of(failure: Exception) -> Error:
    """What a client is told of a failure: its words, and the code of the API reference."""
    match failure:
        case Refused():
            return Error(failure.message, failure.error)
        case ClientFailure():
            return Error(failure.message, "unavailable")
        case ServiceError():
            return Error(failure.message, failure.code)
    return error_of(InternalError())


def _audio_of(event: Event) -> AudioChunk:
    try:
        return AudioChunk.from_event(event)
    except KeyError as missing:
        raise InvalidMessage(f"`{event.type}` has to have `{missing.args[0]}`.") from None
