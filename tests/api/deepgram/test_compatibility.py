"""docs/compatibility.md says of every parameter and message what the service does with it."""

import inspect
from typing import get_args

from deepgram.listen.v1 import socket_client
from deepgram.listen.v1.client import V1Client

from tests.api.openai.test_compatibility import rows, with_status
from whisper_service.api.deepgram.query import REFUSED, ListenQuery


def test_every_parameter_of_the_official_client_has_its_row():
    official = set(inspect.signature(V1Client.connect).parameters)
    official -= {"self", "authorization", "request_options"}
    table = rows("Address")
    assert set(table) == official
    assert with_status(table, "honoured", "different") == set(ListenQuery.model_fields)
    assert with_status(table, "refused") == set(REFUSED)


def test_every_message_of_the_official_client_has_its_row():
    received = {
        kind.model_fields["type"].default
        for kind in get_args(socket_client.V1SocketClientResponse)
        if not kind.__name__.startswith("ListenV1Configure")  # the answers to what is refused
    }
    sent = {"KeepAlive", "Finalize", "CloseStream", "Configure"}
    methods = {name for name in dir(socket_client.V1SocketClient) if name.startswith("send_")}
    assert len(methods - {"send_media"}) == len(sent)
    assert set(rows("Messages")) == sent | received
