import json
import math

import pytest

from whisper_service.api.fronts.native.message_encoder import (
    WARNING_INTERVAL,
    LagWatch,
    MessageEncoder,
)
from whisper_service.api.fronts.native.resume import ResumePoint, ResumeTokens
from whisper_service.errors import InvalidResumeToken, Restarting
from whisper_service.policy.stream_events import (
    Done,
    Final,
    Partial,
    SpeechEnded,
    SpeechStarted,
    StreamState,
)
from whisper_service.types import Segment, Word

TOKENS = ResumeTokens("key", max_age=60)
STATE = StreamState(16_000, 1, "en", 0.9, " one")
BEGIN = ResumePoint("id", {"language": None}, StreamState(0, 0, None, 0.0, ""), seq=-1)
FINAL = Final(
    Segment(0, 0.5, 1.0, " one", words=(Word(" one", 0.5, 1.0, 0.9),)), "en", 0.9, STATE, "pause"
)


@pytest.fixture
def announcer():
    return MessageEncoder(TOKENS, BEGIN)


def test_ready_keeps_fields_that_are_null(announcer):
    ready = json.loads(announcer.ready())
    assert (ready["seq"], ready["offset"], ready["config"]) == (0, 0.0, {"language": None})


def test_events_become_messages(announcer):
    events = [SpeechStarted(0.5), Partial(0.5, 1.0, " one", " two"), FINAL, SpeechEnded(1.2)]
    messages = [json.loads(announcer.event(event)) for event in [*events, Done(2.0, "one")]]
    kinds = [message["type"] for message in messages]
    assert kinds == ["speech_started", "partial", "final", "speech_ended", "done"]
    assert [message["seq"] for message in messages] == [0, 1, 2, 3, 4]
    assert messages[1]["text"] == " one two"
    assert messages[2]["words"] == [{"word": "one", "start": 0.5, "end": 1.0, "probability": 0.9}]


def test_the_token_of_a_final_goes_on_after_it(announcer):
    announcer.ready()
    final = json.loads(announcer.event(FINAL))
    point = TOKENS.read(final["resume"])
    assert (point.state, point.seq, point.session_id) == (STATE, final["seq"], "id")


def test_a_resumed_stream_counts_on(announcer):
    point = TOKENS.read(json.loads(announcer.event(FINAL))["resume"])
    ready = json.loads(MessageEncoder(TOKENS, point).ready())
    assert (ready["seq"], ready["offset"]) == (point.seq + 1, 1.0)


def test_an_error_has_the_shape_of_the_others(announcer):
    error = json.loads(announcer.error(Restarting("Words.", retry_after=0, offset=1.0)))
    assert error == {
        "type": "error",
        "seq": 0,
        "code": "restarting",
        "message": "Words.",
        "offset": 1.0,
        "retry_after": 0,
    }


def test_lag_is_said_above_the_threshold_and_not_too_often():
    watch = LagWatch(5.0)
    lags = [(4.9, 0.0), (5.1, 1.0), (9.0, 2.0), (9.0, 1.0 + WARNING_INTERVAL), (1.0, 99.0)]
    assert [watch.should_warn(lag, now) for lag, now in lags] == [False, True, False, True, False]


@pytest.mark.parametrize("spoil", ["{}x", "x{}", "", "{}{}", "."])
def test_a_token_that_was_changed_is_refused(spoil):
    token = TOKENS.sign(BEGIN)
    with pytest.raises(InvalidResumeToken):
        TOKENS.read(spoil.format(token, token))


def test_a_token_of_another_service_is_refused():
    with pytest.raises(InvalidResumeToken):
        ResumeTokens("other", max_age=60).read(TOKENS.sign(BEGIN))


def test_an_old_token_is_refused():
    with pytest.raises(InvalidResumeToken, match="older"):
        TOKENS.read(ResumeTokens("key", max_age=-1).sign(BEGIN))


def test_a_token_with_other_fields_is_refused():
    token = TOKENS._signing.sign({"session_id": "x", "state": {}}, math.inf)
    with pytest.raises(InvalidResumeToken):
        TOKENS.read(token)
