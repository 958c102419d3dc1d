import json
import pickle

import pytest

from whisper_service import errors
from whisper_service.errors import InternalError, ServiceError, UnknownModel

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, ServiceError)
]


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_says_what_programs_and_people_need(cls):
    body = cls("Words.", param="x").as_dict()
    assert body == {"error": {"code": cls.code, "message": "Words.", "param": "x"}}
    assert json.dumps(body)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_survives_the_way_between_replicas(cls):
    error = pickle.loads(pickle.dumps(cls("Words.", retry_after=2.5, param="x")))
    assert type(error) is cls
    assert (error.message, error.retry_after, error.details) == ("Words.", 2.5, {"param": "x"})
    assert str(error) == "Words."


@pytest.mark.parametrize("cls", CLASSES)
def test_statuses_are_errors_and_close_codes_may_be_sent(cls):
    assert 400 <= cls.http_status < 600
    # RFC 6455, 7.4.1 and the IANA registry: what an endpoint may send, but for 1000, "normal".
    assert cls.ws_close_code in {1003, 1007, 1008, 1009, 1011, 1012, 1013}


def test_codes_are_not_shared_but_by_the_root():
    named = [cls for cls in CLASSES if cls not in (ServiceError, InternalError)]
    assert len({cls.code for cls in named}) == len(named)


def test_details_cannot_hide_the_code():
    assert UnknownModel("Words.", code="other").as_dict()["error"]["code"] == "unknown_model"


def test_a_bug_has_a_message_of_its_own():
    assert InternalError().as_dict()["error"]["message"] == "Internal error; it has been logged."


def test_every_class_is_in_the_tree_that_is_written_down():
    for cls in CLASSES:
        assert cls.__name__ in errors.__doc__
