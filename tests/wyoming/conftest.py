"""The bridge in the test's own loop, before a service with a scripted decoder."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial

import pytest
from wyoming.client import AsyncClient
from wyoming.server import AsyncServer

from tests.api.fakes import PATIENCE
from tests.client.conftest import running
from tests.policy.world import FakeDetector
from whisper_service.api.live import pipeline
from whisper_service.wyoming.conversation import Conversation, Door
from whisper_service.wyoming.utterance import Limits, Service


@pytest.fixture(autouse=True)
def _any_sound_is_speech(monkeypatch):
    """As the scripted decoder does: Silero takes its levels for no speech."""
    monkeypatch.setattr(pipeline, "SileroDetector", lambda threshold: FakeDetector())


@pytest.fixture
def service():
    with running() as service:
        yield service


@pytest.fixture
def bridge(tmp_path):
    """Serves the bridge on a socket of its own, and gives its address; at the end no connection
    may be left."""

    @asynccontextmanager
    async def serve(url, *, max_connections=4, key=None, model=None, language=None, **limits):
        uri = f"unix://{tmp_path}/wyoming"
        door = Door(max_connections)
        behind = Service(url, key, model, language, Limits(**limits))
        server = AsyncServer.from_uri(uri)
        await server.start(partial(Conversation, door=door, service=behind))
        try:
            yield uri
            async with asyncio.timeout(PATIENCE):
                while door.n_open:  # noqa: ASYNC110  a connection tells nobody that it has ended
                    await asyncio.sleep(0.01)
        finally:
            await server.stop()

    return serve


@pytest.fixture
def connected(bridge, service):
    """A client of the library, connected to the bridge."""

    @asynccontextmanager
    async def connect(url=service.url, **settings):
        async with (
            bridge(url, **settings) as uri,
            AsyncClient.from_uri(uri, connect_timeout=20, read_timeout=60) as client,
        ):
            yield client

    return connect
