import httpx
import pytest
from starlette.testclient import TestClient

from tests.api.fakes import FakeDecoder, hear_any_sound, level, wav
from whisper_service.api.app import create_app
from whisper_service.settings import Settings


@pytest.fixture(autouse=True)
def _any_sound_is_speech(monkeypatch):
    hear_any_sound(monkeypatch)


@pytest.fixture
def decoder():
    return FakeDecoder()


@pytest.fixture
def make_app(decoder, tmp_path):
    """The application with some settings other than the defaults."""

    def make(draining=lambda: False, **fields):
        fields = {"resume_key": "a key for tests", "jobs_dir": tmp_path / "jobs", **fields}
        return create_app(Settings(**fields), decoder, draining=draining)

    return make


@pytest.fixture
def app(make_app):
    return make_app()


@pytest.fixture
def make_client(make_app):
    def make(**settings):
        return TestClient(make_app(**settings), raise_server_exceptions=False)

    return make


@pytest.fixture
def client(make_client):
    return make_client()


@pytest.fixture
def transcribe(client):
    """POST /transcribe with a good file, unless another is given."""

    def post(file=None, **fields):
        file = file or ("a.wav", wav(level(7)))
        return client.post("/transcribe", files={"file": file}, data=fields)

    return post


@pytest.fixture
async def asgi_get(app):
    """GET on the application in the test's own event loop, beside sockets that are open there."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client.get
