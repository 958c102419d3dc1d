"""A real server around a scripted decoder, and a wire to it that can be cut."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import uvicorn

from tests.api.fakes import FakeDecoder, hear_any_sound, level, wav
from whisper_service.api.app import create_app
from whisper_service.settings import Settings

PATIENCE = 30.0


@pytest.fixture(autouse=True)
def _any_sound_is_speech(monkeypatch):
    hear_any_sound(monkeypatch)


@dataclass
class Service:
    """Where it listens, and what decodes in it."""

    decoder: FakeDecoder
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def running(**settings) -> Iterator[Service]:
    """Serve the whole API, in a thread, until the block is left."""
    decoder = FakeDecoder()
    app = create_app(Settings(resume_key="a key for tests", **settings), decoder)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", ws="websockets-sansio", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield Service(decoder, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as service:
        yield service


@pytest.fixture
def recording(tmp_path):
    """Writes a wav that the decoder hears as these levels, a second each."""

    def make(*levels: int, name: str = "a.wav"):
        path = tmp_path / name
        path.write_bytes(wav(b"".join(level(number) for number in levels)))
        return path

    return make


@dataclass
class Wire:
    """Carries bytes between client and service; each connection breaks after so many of them."""

    to: int
    breaks_after: list[int] = field(default_factory=list)
    n_connections: int = 0
    port: int = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        room = self.breaks_after.pop(0) if self.breaks_after else None
        self.n_connections += 1
        there, out = await asyncio.open_connection("127.0.0.1", self.to)
        up = asyncio.create_task(self._copy(reader, out, room))
        down = asyncio.create_task(self._copy(there, writer, None))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            out.transport.abort()
            writer.transport.abort()

    async def _copy(self, reader, writer, room: int | None) -> None:
        while data := await reader.read(16_384):
            if room is not None and (room := room - len(data)) <= 0:
                return
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def wire(to: int, *breaks_after: int) -> AsyncIterator[Wire]:
    carrier = Wire(to, list(breaks_after))
    server = await asyncio.start_server(carrier.carry, "127.0.0.1", 0)
    carrier.port = server.sockets[0].getsockname()[1]
    async with server:
        yield carrier
