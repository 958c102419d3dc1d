"""docs/compatibility.md says of every parameter and message what the service does with it."""

import inspect
from typing import get_args

import deepgram.listen.v1.types as official
from deepgram.listen.v1 import socket_client
from deepgram.listen.v1.client import V1Client

from tests.api.fronts.native.test_message_encoder import FINAL
from tests.api.fronts.openai.test_compatibility import rows, with_status
from whisper_service.api.fronts.deepgram.query import REFUSED, WITHOUT_EFFECT, ListenQuery
from whisper_service.api.fronts.deepgram.results import ChannelResults, Request


def test_every_parameter_of_the_official_client_has_its_row():
    official = set(inspect.signature(V1Client.connect).parameters)
    official -= {"self", "authorization", "request_options"}
    table = rows("Address")
    assert official <= set(table)
    assert with_status(table, "honoured", "different") == set(ListenQuery.model_fields)
    assert with_status(table, "refused") == set(REFUSED)
    assert with_status(table, "without effect") == set(WITHOUT_EFFECT)


def test_every_message_of_the_official_client_has_its_row():
    received = {
        kind.model_fields["type"].default for kind in get_args(socket_client.V1SocketClientResponse)
    }
    sent = {"KeepAlive", "Finalize", "CloseStream", "Configure"}
    methods = {name for name in dir(socket_client.V1SocketClient) if name.startswith("send_")}
    assert len(methods - {"send_media"}) == len(sent)
    assert set(rows("Messages")) == sent | received


def names(told):
    """All names in a message, however deep."""
    if isinstance(told, dict):
        return set(told).union(*map(names, told.values()))
    return set().union(*map(names, told)) if isinstance(told, list) else set()


def test_every_field_of_a_result_has_its_row():
    table = rows("Fields of `Results`")
    never = "EntitiesItem", "DiarizeInfo"  # what is in those that are never there
    kinds = [n for n in dir(official) if n.startswith("ListenV1Results") and not n.endswith(never)]
    fields = [getattr(getattr(official, name), "model_fields", ()) for name in kinds]
    assert set(table) == set().union(*fields)
    results = ChannelResults(Request("id", "base", ListenQuery()), 0)
    (told,) = results.messages([FINAL], is_finalizing=False)
    assert with_status(table, "honoured", "different") == names(told)
