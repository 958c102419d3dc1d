import warnings

import pytest
from deepgram import DeepgramClient
from deepgram.environment import DeepgramClientEnvironment

from tests.api.listening import listening

with warnings.catch_warnings():  # it asks websockets for names of its old days, once
    warnings.simplefilter("ignore", DeprecationWarning)
    import deepgram.listen.v1.client  # noqa: F401


@pytest.fixture
def connect(make_app):
    """The official client, on a service with some settings other than the defaults."""
    opened = []

    def make(draining=lambda: False, **settings):
        server = listening(make_app(draining, **settings))
        address = server.__enter__()
        opened.append(server)
        places = {"base": f"http://{address}", "production": f"ws://{address}"}
        places |= {"agent": f"ws://{address}", "agent_rest": f"http://{address}"}
        environment = DeepgramClientEnvironment(**places)
        return DeepgramClient(api_key="any", environment=environment).listen.v1

    yield make
    for server in opened:
        server.__exit__(None, None, None)
