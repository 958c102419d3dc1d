"""/v1/listen as the official client speaks it."""

import hashlib
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
from deepgram.listen.v1.types import ListenV1Configure, ListenV1Metadata, ListenV1Results
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.api.fakes import model, say, wav
from tests.audio.make import run_ffmpeg
from tests.speech import speech
from whisper_service.errors import Unavailable

RAW = {"model": "whisper", "encoding": "linear16", "sample_rate": 16_000}
CONTAINER = {"encoding": None, "sample_rate": None}
QUIET = b"\0\0" * 16_000


def spoken(name="en_eight") -> bytes:
    return (speech(name).clip(-1, 1) * 32767).astype("<i2").tobytes()


class Talk:
    def __init__(self, socket):
        self.socket = socket

    def hear(self, pcm, step=6400):
        for start in range(0, len(pcm), step):
            self.socket.send_media(pcm[start : start + step])

    def rest(self):
        """Everything up to the close, after which there is nothing."""
        messages = []
        try:
            while True:
                messages.append(self.socket.recv())
        except ConnectionClosed as closed:
            self.closed = closed
        return messages

    def close(self):
        self.socket.send_close_stream()
        return self.rest()

    def until(self, wanted):
        messages = [self.socket.recv()]
        while not wanted(messages[-1]):
            messages.append(self.socket.recv())
        return messages


@pytest.fixture
def talk(connect, decoder):
    decoder.answer = lambda job: say(job, " Eight!")

    @contextmanager
    def open_request(settings=None, **query):
        asked = {name: value for name, value in {**RAW, **query}.items() if value is not None}
        more = {"additional_query_parameters": asked.pop("additional", {})}
        with connect(**settings or {}).connect(**asked, request_options=more) as socket:
            yield Talk(socket)

    return open_request


def results(messages):
    return [message for message in messages if message.type == "Results"]


def text(messages):
    finals = [message for message in results(messages) if message.is_final]
    return " ".join(filter(None, (m.channel.alternatives[0].transcript for m in finals)))


def test_speech_becomes_results_and_a_close_ends_with_metadata(talk):
    pcm = spoken() + QUIET
    with talk() as it:
        it.hear(pcm)
        messages = it.close()
    *told, metadata = messages
    assert text(told) == "Eight!"
    assert all(ListenV1Results.model_validate(message.dict()) for message in told)
    assert ListenV1Metadata.model_validate(metadata.dict())
    assert metadata.duration == pytest.approx(len(pcm) / 32_000, abs=0.01)
    assert metadata.sha256 == hashlib.sha256(pcm).hexdigest()
    assert {message.metadata.request_id for message in told} == {metadata.request_id}
    assert it.closed.rcvd.code == 1000


def test_words_have_times_and_confidences(talk):
    with talk() as it:
        it.hear(spoken() + QUIET)
        (word,) = next(m for m in it.close() if m.type == "Results").channel.alternatives[0].words
    assert (word.word, word.punctuated_word, word.confidence) == ("eight", "Eight!", 0.9)
    assert 0 <= word.start < word.end


def test_a_pause_is_an_endpoint(talk):
    with talk() as it:
        it.hear(spoken() + QUIET + QUIET)
        told = it.until(lambda m: m.type == "Results" and m.speech_final)
    assert text(told) == "Eight!"


def test_endpointing_can_be_turned_off(talk):
    with talk(endpointing="false") as it:
        it.hear(spoken() + QUIET + QUIET)
        assert not any(message.speech_final for message in results(it.close()))


def test_interim_results_come_only_when_asked_for(talk):
    for asked in (False, True):
        with talk(interim_results=asked) as it:
            it.hear(spoken("en_four_seven_nine"))
            told = results(it.close())
        assert any(not message.is_final for message in told) is asked


def test_final_results_do_not_overlap(talk):
    with talk() as it:
        it.hear((spoken("en_four_seven_nine") + QUIET) * 2)
        finals = [message for message in results(it.close()) if message.is_final]
    assert len(finals) > 1
    assert all(a.start + a.duration <= b.start + 0.001 for a, b in pairwise(finals))


def test_a_finalize_is_answered_and_the_stream_goes_on(talk):
    with talk() as it:
        for _ in range(2):
            it.hear(spoken())
            it.socket.send_finalize()
            told = it.until(lambda m: m.type == "Results" and m.from_finalize)
            assert text(told) == "Eight!"
            assert sum(message.from_finalize for message in told) == 1
        assert it.close()[-1].type == "Metadata"


def test_a_finalize_of_nothing_is_answered_too(talk):
    with talk() as it:
        it.hear(QUIET)
        it.socket.send_finalize()
        (message,) = it.until(lambda m: m.type == "Results")
    assert message.from_finalize
    assert message.channel.alternatives[0].words == []


def test_events_of_speech_come_when_asked_for(talk):
    with talk(vad_events=True, interim_results=True, utterance_end_ms=1000) as it:
        it.hear(spoken() + QUIET)
        told = it.until(lambda m: m.type == "Results" and m.speech_final)
        it.hear(QUIET + QUIET)
        told += it.until(lambda m: m.type == "UtteranceEnd")
    kinds = [message.type for message in told]
    assert kinds[0] == "SpeechStarted"
    assert kinds.count("UtteranceEnd") == 1
    last = told[-2].channel.alternatives[0].words[-1]
    assert told[-1].last_word_end == last.end


def test_channels_are_heard_apart(talk, decoder):
    left, right = (
        np.frombuffer(spoken(), np.int16),
        np.frombuffer(spoken("es_cinco_ocho"), np.int16),
    )
    n = max(len(left), len(right))
    both = np.zeros((n, 2), np.int16)
    both[: len(left), 0], both[: len(right), 1] = left, right
    with talk(channels=2, multichannel=True) as it:
        it.hear(both.tobytes() + QUIET * 2, step=6401)
        messages = it.close()
    assert {tuple(message.channel_index) for message in results(messages)} == {(0, 2), (1, 2)}
    assert messages[-1].channels == 2


def test_a_keepalive_says_nothing_and_silence_on_the_socket_ends_it(talk):
    with talk({"stream_idle_timeout": 0.3}) as it:
        it.socket.send_keep_alive()
        assert it.rest() == []
    assert (it.closed.rcvd.code, it.closed.rcvd.reason) == (1011, "NET-0001")


def test_the_query_reaches_the_decoder(talk, decoder):
    with talk(model="whisper-small", language="de-AT", version="latest") as it:
        it.hear(spoken())
        it.close()
    assert set(decoder.models_asked) == {"small"}
    options = decoder.jobs[-1].options
    assert (options.language, options.timestamps) == ("de", "word")


@pytest.mark.parametrize(
    "query",
    [
        {"diarize": True},
        {"redact": ["pci", "ssn"]},
        {"replace": "one:two"},
        {"profanity_filter": True},
        {"callback": "https://example.com"},
        {"encoding": "opus"},
        {"model": "klingon"},
        {"language": "klingon"},
        {"language": ["en", "de"]},
        {"sample_rate": 4000},
        {"sample_rate": None},
        {"multichannel": True, "channels": 2, **CONTAINER},
        {"endpointing": "soon"},
        {"utterance_end_ms": "later"},
        {"punctuate": "perhaps"},
        {"additional": {"no_such": 1}},
    ],
    ids=lambda query: next(iter(query)),
)
def test_what_cannot_be_honoured_is_denied_by_name(talk, query):
    with pytest.raises(InvalidStatus) as refused, talk(**query):
        pass
    denial = refused.value.response
    assert denial.status_code == 400
    assert denial.headers["dg-request-id"]
    name, value = next(iter(query.items()))
    assert (next(iter(value)) if isinstance(value, dict) else name) in denial.headers["dg-error"]


@pytest.mark.parametrize(
    "query",
    [
        {"diarize": False, "redact": "False", "numerals": True, "smart_format": True},
        {"model": "nova-3", "language": "en_US", "punctuate": True, "endpointing": 10},
        {"model": "nova-2-phonecall", "punctuate": "True", "interim_results": "True"},
        {"dictation": True, "detect_entities": True, "search": ["a", "b"], "tag": ["x", "y"]},
        {"version": "2024-01-09", "mip_opt_out": False, "language": "multi"},
        {"utterance_end_ms": -1, "endpointing": "False"},
        {"additional": {"no_delay": "true", "filler_words": "true", "endpointing": "25"}},
        {"additional": {"no_delay": "false", "filler_words": "False", "endpointing": "0"}},
    ],
    ids=str,
)
def test_what_makes_no_other_transcript_is_taken(talk, decoder, query):
    with talk(**query) as it:
        it.hear(spoken())
        assert text(it.close()) == "Eight!"
    assert set(decoder.models_asked) == {"base"}


def test_a_short_endpointing_is_one_that_whisper_can_hear(talk):
    with talk(endpointing=10) as it:
        it.hear(spoken() + QUIET)
        assert text(it.until(lambda m: m.type == "Results" and m.speech_final)) == "Eight!"


def test_words_and_languages_to_expect_reach_the_decoder(talk, decoder):
    words = {"keyterm": ["KubeRay", "Ray Serve"], "keywords": ["Anyscale:2", "Rey:-5", "GPU"]}
    with talk(**words, language_hint=["de", "pt-BR"]) as it:
        it.hear(spoken())
        it.close()
    options = decoder.jobs[-1].options
    assert options.prompt == "KubeRay, Ray Serve, Anyscale, GPU."
    assert (options.language, options.allowed_languages) == (None, ("de", "pt"))


def test_a_model_that_is_served_keeps_its_name(talk, decoder):
    decoder.known.append(model("whisper-base"))
    with talk(model="whisper-base") as it:
        it.hear(spoken())
        it.close()
    assert set(decoder.models_asked) == {"whisper-base"}


@pytest.mark.parametrize("message", ["{}", "hello", "[]", '{"type": "Flush"}', '{"type": 5}'])
def test_a_message_that_is_none_is_told_and_the_stream_goes_on(talk, message):
    with talk() as it:
        it.socket._send(message)
        error = it.socket.recv()
        assert (error.type, error.variant, error.message) == ("Error", "SchemaError", message)
        it.hear(spoken())
        assert text(it.close()) == "Eight!"


@pytest.mark.parametrize("message", ["keepalive", "keepAlive", "KEEP_ALIVE"])
def test_a_keepalive_in_any_case_is_one(talk, message):
    with talk() as it:
        it.socket._send({"type": message})
        it.socket._send({"type": "closeStream"})
        assert [told.type for told in it.rest()] == ["Metadata"]


def test_one_channel_is_finalized_where_it_is_named(talk):
    with talk(channels=2, multichannel=True) as it:
        it.hear(np.repeat(np.frombuffer(spoken(), np.int16), 2).tobytes())
        it.socket._send({"type": "Finalize", "channel": 1})
        (told,) = [m for m in it.until(lambda m: m.from_finalize) if m.from_finalize]
        assert told.channel_index == [1, 2]
        it.socket._send({"type": "Finalize", "channel": 2})
        told = it.until(lambda m: m.type == "Error")
        assert not any(m.from_finalize for m in told[:-1])


def test_words_to_expect_cannot_change_and_the_client_is_told(talk):
    with talk() as it:
        it.socket.send_configure(ListenV1Configure(keyterms=["Ray"]))
        assert it.socket.recv().code == "CONFIGURE_KEYTERMS_NOT_SUPPORTED"
        it.socket.send_configure(ListenV1Configure(features={"numerals": True}))
        assert it.socket.recv().type == "ConfigureSuccess"
        assert it.close()[-1].type == "Metadata"


# --- containers


@pytest.fixture(scope="session")
def contained(tmp_path_factory):
    """Speech and a second of silence, in a container of opus."""
    file = tmp_path_factory.mktemp("opus") / "a.wav"
    file.write_bytes(wav(spoken() + QUIET))
    return lambda kind: run_ffmpeg("-i", file, "-c:a", "libopus", "-f", kind, "-")


@pytest.mark.parametrize(("kind", "encoding"), [("webm", None), ("ogg", None), ("ogg", "ogg-opus")])
def test_a_container_says_what_it_holds(talk, contained, kind, encoding):
    recording = contained(kind)
    with talk(**{**CONTAINER, "encoding": encoding}) as it:
        it.hear(recording, step=777)
        *told, metadata = it.close()
    assert text(told) == "Eight!"
    assert metadata.duration == pytest.approx(len(spoken() + QUIET) / 32_000, abs=0.1)
    assert metadata.sha256 == hashlib.sha256(recording).hexdigest()


def test_what_is_no_container_closes(talk):
    with talk(**CONTAINER) as it:
        it.hear(b"this is no audio" * 1000)
        assert it.close() == []
    assert (it.closed.rcvd.code, it.closed.rcvd.reason) == (1008, "DATA-0000")


def test_a_container_too_many_is_denied(connect, monkeypatch):
    monkeypatch.setattr("whisper_service.api.live.streams.MAX_CONTAINERS", 1)
    service = connect()
    with service.connect(model="whisper"):
        with pytest.raises(InvalidStatus) as refused, service.connect(model="whisper"):
            pass
        with service.connect(**RAW):  # what is raw needs no ffmpeg
            pass
    assert refused.value.response.status_code == 503


# --- limits


def test_finalizes_that_pile_up_end_the_request(talk, decoder, monkeypatch):
    monkeypatch.setattr("whisper_service.api.live.driver.CATCH_UP", 0.05)
    monkeypatch.setattr("whisper_service.api.live.driver.MAX_TURNS", 2)
    decoder.gate.clear()
    with talk() as it:
        it.hear(spoken())
        for _ in range(3):
            it.socket.send_finalize()
        it.rest()
    assert (it.closed.rcvd.code, it.closed.rcvd.reason) == (1008, "stream_too_fast")


def test_what_was_heard_up_to_the_longest_is_told(talk):
    seconds = len(spoken()) / 32_000
    audio = spoken() + QUIET
    with talk({"max_stream_seconds": seconds}) as it:
        it.hear(audio, step=len(audio))  # at once: nothing is left to send when it is closed
        assert text(it.rest()) == "Eight!"
    assert (it.closed.rcvd.code, it.closed.rcvd.reason) == (1009, "audio_too_long")


def test_who_has_ended_its_audio_may_be_silent_while_it_is_decoded(talk, decoder):
    decoder.failures = [Unavailable("The replica died.")] * 3  # tried again after 1.75 s
    with talk({"stream_idle_timeout": 1.0}) as it:
        it.hear(spoken())
        assert it.close()[-1].type == "Metadata"
