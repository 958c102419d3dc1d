"""Session updates of any shape: understood, or refused with an error of ours."""

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from whisper_service.api.fronts.openai.transcription_session import (
    MAX_NOTICES,
    TranscriptionSession,
    adapted,
    nested,
)
from whisper_service.errors import InvalidParameter

NAMES = st.sampled_from(
    [
        "type",
        "audio",
        "input",
        "format",
        "rate",
        "transcription",
        "turn_detection",
        "model",
        "silence_duration_ms",
        "include",
        "x",
        "input_audio_format",
        "input_audio_transcription",
    ]
)
KNOWN = ["transcription", "server_vad", "audio/pcm", "audio/pcmu", "pcm16", "whisper-1", "", "x"]
LEAVES = st.none() | st.booleans() | st.integers(-1, 30_000) | st.floats() | st.sampled_from(KNOWN)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_update_is_understood_or_refused(patch):
    try:
        session = TranscriptionSession().updated(patch)
    except InvalidParameter as error:
        session = TranscriptionSession()
        event(error.message[:30])
    assert session.stream_config("base").partial_interval == 0


@given(st.dictionaries(NAMES | st.text(max_size=3), VALUES, max_size=4))
def test_what_is_left_of_an_update_has_no_more_to_say(patch):
    try:
        kept, notices = adapted(patch)
    except InvalidParameter:
        return
    assert all(notice.param.startswith("session.") for notice in notices)
    assert adapted(kept) == (kept, [])


def test_notices_are_few_however_long_the_update():
    _, notices = adapted({f"x{n}": n + 2 for n in range(10_000)})
    assert len(notices) == MAX_NOTICES


def test_both_shapes_say_the_same():
    flat = {
        "input_audio_format": "g711_alaw",
        "input_audio_transcription": {"model": "base", "language": "de"},
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 700},
    }
    session = TranscriptionSession().updated(flat)
    assert session == TranscriptionSession().updated(nested(flat))
    shown = session.shown("sess_1", is_flat=True)
    assert session == TranscriptionSession().updated({name: shown[name] for name in flat})
    assert session.stream_config("other").endpoint_silence == 0.7


@pytest.mark.parametrize("is_flat", [False, True])
def test_null_for_turn_detection_means_commits(is_flat):
    patch = {"turn_detection": None}
    session = TranscriptionSession().updated(patch if is_flat else {"audio": {"input": patch}})
    assert session.is_manual
    assert not session.updated({"turn_detection": {"type": "server_vad"}}).is_manual
