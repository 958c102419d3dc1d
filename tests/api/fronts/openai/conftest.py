import openai
import pytest

from tests.api.listening import listening


@pytest.fixture
def make_openai(make_app):
    """The official client, on a service of its own with some settings other than the defaults."""
    opened = []

    def make(draining=lambda: False, **settings):
        server = listening(make_app(draining, **settings))
        address = server.__enter__()
        client = openai.OpenAI(base_url=f"http://{address}/v1", api_key="any", max_retries=0)
        opened.append((server, client))
        return client

    yield make
    for server, client in opened:
        client.close()
        server.__exit__(None, None, None)


@pytest.fixture
def client(make_openai):
    return make_openai()


@pytest.fixture
def transcriptions(client):
    return client.audio.transcriptions


@pytest.fixture
def translations(client):
    return client.audio.translations
