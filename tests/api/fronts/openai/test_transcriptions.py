"""/v1/audio as the official client asks for it."""

import io
import json
import wave

import openai
import pytest
from openai.types.audio import (
    Transcription,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionVerbose,
)

from tests.api.fakes import level, say, wav
from whisper_service.api.files import transcription
from whisper_service.errors import InternalError, Overloaded

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
"""The client calls its translations so, ahead of whisper-1's end at OpenAI."""

FILE = ("a.wav", wav(level(7)))
LONG = ("a.wav", wav(b"".join(level(number, 30) for number in (11, 12, 13))))


def ask(resource, file=FILE, model="whisper-1", **parameters):
    return resource.create(file=file, model=model, **parameters)


# --- answers


def test_a_file_becomes_text_with_its_usage(transcriptions):
    answer = ask(transcriptions)
    assert Transcription.model_validate(answer.to_dict(), extra="forbid") == answer
    assert answer.text == "level 7"
    assert answer.usage.to_dict() == {"type": "duration", "seconds": 1}


def test_verbose_json_has_every_field(transcriptions):
    answer = ask(transcriptions, LONG, response_format="verbose_json")
    assert TranscriptionVerbose.model_validate(answer.to_dict()) == answer
    assert (answer.language, answer.duration, answer.usage.seconds) == ("english", 90.0, 90)
    assert answer.to_dict()["task"] == "transcribe"
    assert [segment.id for segment in answer.segments] == list(range(len(answer.segments)))
    assert "".join(segment.text for segment in answer.segments).strip() == answer.text
    assert None not in answer.segments[0].to_dict().values()
    assert answer.words is None


def test_words_are_at_the_top_level_when_asked_for(transcriptions):
    asked = {"response_format": "verbose_json", "timestamp_granularities": ["word"]}
    answer = ask(transcriptions, **asked)
    assert [word.to_dict() for word in answer.words] == [
        {"word": "level 7", "start": 0.0, "end": 1.0}
    ]
    assert "words" not in answer.segments[0].to_dict()


@pytest.mark.parametrize("name", ["text", "srt", "vtt"])
def test_formats_of_text_are_those_of_transcribe(make_client, transcriptions, name):
    form = {"response_format": name}
    ours = make_client().post("/transcribe", files={"file": FILE}, data=form)
    assert ask(transcriptions, response_format=name) == ours.text


def test_a_translation_is_english(translations, decoder):
    decoder.answer = lambda job: say(job, " hello")
    answer = ask(translations, response_format="verbose_json")
    assert (answer.language, answer.text) == ("english", "hello")
    assert answer.to_dict()["task"] == "translate"
    assert decoder.jobs[0].options.task == "translate"


@pytest.mark.parametrize("name", ["json", "text", "srt", "verbose_json", "vtt"])
def test_a_translation_has_every_format(translations, name):
    assert "level 7" in str(ask(translations, response_format=name))


# --- parameters


def test_the_form_reaches_the_decoder(transcriptions, decoder):
    asked = {"language": "de", "prompt": "Zahlen", "temperature": 0.4}
    ask(transcriptions, model="small", chunking_strategy="auto", **asked)
    options = decoder.jobs[0].options
    assert decoder.models_asked == ["small"]
    assert (options.task, options.language, options.prompt) == ("transcribe", "de", "Zahlen")
    assert (options.temperatures, options.timestamps) == ((0.4,), "segment")


def test_a_translation_passes_on_its_parameters(translations, decoder):
    ask(translations, model="small", prompt="Numbers", temperature=0.2)
    options = decoder.jobs[0].options
    assert (options.prompt, options.temperatures) == ("Numbers", (0.2,))


def test_whisper_1_is_the_default_model(make_openai, decoder):
    ask(make_openai(default_model="small").audio.transcriptions)
    assert decoder.models_asked == ["small"]


def test_temperature_0_is_the_fallback_ladder(transcriptions, decoder):
    ask(transcriptions, temperature=0)
    assert decoder.jobs[0].options.temperatures == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp_granularities[]": ["word", "segment"]},
        {"timestamp_granularities": ["word", "segment"]},
        {"timestamp_granularities[0]": "word", "timestamp_granularities[1]": "segment"},
        {"timestamp_granularities": "segment", "timestamp_granularities[]": "word"},
        {"timestamp_granularities[]": "word"},
        {"timestamp_granularities": '["word", "segment"]'},
        {"timestamp_granularities[]": '["word"]'},
        {"timestamp_granularities": "segment, word"},
    ],
)
def test_lists_have_several_spellings(make_client, fields):
    form = {"model": "base", "response_format": "verbose_json", **fields}
    answer = make_client().post("/v1/audio/transcriptions", files={"file": FILE}, data=form)
    assert [word["word"] for word in answer.json()["words"]] == ["level 7"]


# --- streams


def test_deltas_add_up_to_the_text(transcriptions, decoder):
    texts = iter([" one ", " two", "", "\n three\n "])
    decoder.answer = lambda job: say(job, next(texts, " more "))
    *deltas, done = ask(transcriptions, LONG, stream=True)
    assert all(type(event) is TranscriptionTextDeltaEvent for event in deltas)
    assert len(deltas) > 1
    assert TranscriptionTextDoneEvent.model_validate(done.to_dict(), extra="forbid") == done
    assert "".join(event.delta for event in deltas) == done.text
    assert done.text.startswith("one  two\n three")


def test_a_stream_says_the_same_as_a_whole_answer(transcriptions):
    *_, done = ask(transcriptions, LONG, stream=True, response_format="text")
    assert done.text == ask(transcriptions, LONG).text
    assert done.usage.input_tokens == 90 * 50
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens


def test_silence_is_a_stream_of_nothing(transcriptions):
    events = list(ask(transcriptions, ("a.wav", wav(level(0))), stream=True))
    assert [(event.type, event.text) for event in events] == [("transcript.text.done", "")]


def test_an_error_before_the_first_event_has_its_status(transcriptions, decoder):
    decoder.failures = [Overloaded("Full.", retry_after=2)]
    with pytest.raises(openai.InternalServerError) as refused:
        list(ask(transcriptions, stream=True))
    assert refused.value.status_code == 503
    assert refused.value.response.headers["retry-after"] == "2"


def test_an_error_in_the_middle_ends_the_stream(make_openai, decoder, monkeypatch):
    def answer(job):
        if len(decoder.jobs) > 1:
            raise InternalError
        return say(job, " one")

    decoder.answer = answer
    monkeypatch.setattr(transcription, "WINDOWS_IN_FLIGHT", 1)
    client = make_openai()
    events = iter(ask(client.audio.transcriptions, LONG, stream=True))
    assert next(events).delta == "one"
    with pytest.raises(openai.APIError) as failed:
        list(events)
    assert failed.value.body["type"] == "server_error"


def test_events_are_named_in_their_data_alone(make_client):
    form = {"model": "base", "stream": "true"}
    answer = make_client().post("/v1/audio/transcriptions", files={"file": FILE}, data=form)
    lines = [line for line in answer.text.splitlines() if line]
    assert all(line.startswith("data: ") for line in lines)
    kinds = [json.loads(line.removeprefix("data: "))["type"] for line in lines]
    assert kinds == ["transcript.text.delta", "transcript.text.done"]


def test_an_hour_is_streamed_to_its_end(transcriptions):
    *deltas, done = ask(transcriptions, ("hour.wav", hour()), stream=True)
    assert "".join(event.delta for event in deltas) == done.text
    assert set(done.text.split()) == {"level", "7"}
    assert len(deltas) > 3600 / 60
    assert done.usage.input_tokens == 3600 * 50


def hour() -> bytes:
    """An hour that FakeDecoder hears as "level 7", in 8 kHz and 8 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 1, 8000, 0, "NONE", ""))
        writer.writeframes(bytes([128 + 9]) * 8000 * 3600)
    return file.getvalue()


# --- refusals


def refusal(resource, error=openai.BadRequestError, **parameters):
    with pytest.raises(error) as refused:
        ask(resource, **parameters)
    assert set(refused.value.body) == {"message", "type", "param", "code"}
    return refused.value


@pytest.mark.parametrize(
    "parameters",
    [
        {"include": ["logprobs"]},
        {"chunking_strategy": {"type": "server_vad", "threshold": 0.5}},
        {"known_speaker_names": ["Ann"]},
        {"known_speaker_references": ["data:audio/wav;base64,AAAA"]},
        {"response_format": "diarized_json"},
        {"timestamp_granularities": ["word"]},
        {"timestamp_granularities": ["phoneme"], "response_format": "verbose_json"},
        {"timestamp_granularities": ["word"] * 9, "response_format": "verbose_json"},
        {"response_format": "srt", "stream": True},
        {"temperature": 1.5},
        {"language": "klingon"},
        {"extra_body": {"temprature": 5}},
        {"extra_body": {"beam_size": 11}},
        {"extra_body": {"diarize": True}},
        {"extra_body": {"url": "http://example.com/a.wav"}},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_what_cannot_be_honoured_is_refused_by_name(transcriptions, decoder, parameters):
    error = refusal(transcriptions, **parameters)
    name = next(iter(parameters.get("extra_body", parameters)))
    assert error.param == name
    assert f"{name}" in error.body["message"]
    assert error.type == "invalid_request_error"
    assert decoder.jobs == []


def test_a_translation_takes_no_language(translations):
    assert refusal(translations, extra_body={"language": "de"}).param == "language"


def test_an_unknown_model_is_not_found(transcriptions):
    error = refusal(transcriptions, openai.NotFoundError, model="gpt-4o-transcribe-diarize")
    assert (error.code, error.param) == ("model_not_found", "model")


def test_weights_that_cannot_be_had(transcriptions):
    error = refusal(transcriptions, openai.InternalServerError, model="large")
    assert (error.status_code, error.code) == (503, "model_unavailable")


def test_a_model_that_cannot_translate(translations):
    assert refusal(translations, model="base.en").param == "model"


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (("a.wav", b""), "empty_audio"),
        (("a.wav", b"no audio at all"), "undecodable_audio"),
        (("a.wav", wav(level(1, 0.05))), "audio_too_short"),
    ],
)
def test_audio_that_is_none(transcriptions, file, code):
    error = refusal(transcriptions, file=file)
    assert (error.param, error.code) == ("file", code)


def test_too_much_of_it(make_openai):
    small = make_openai(max_upload_bytes=1000).audio.transcriptions
    assert refusal(small, openai.APIStatusError).status_code == 413
    short = make_openai(max_audio_seconds=0.5).audio.transcriptions
    assert refusal(short, openai.APIStatusError).code == "audio_too_long"


@pytest.mark.parametrize("missing", ["file", "model"])
def test_what_is_missing_is_named(make_client, missing):
    files, data = {"file": FILE}, {"model": "base"}
    (files if missing == "file" else data).clear()
    answer = make_client().post("/v1/audio/transcriptions", files=files, data=data)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == missing


def test_a_bug_is_told_as_one(transcriptions, decoder):
    decoder.failures = [RuntimeError("secret")]
    error = refusal(transcriptions, openai.InternalServerError)
    assert (error.type, error.code) == ("server_error", "internal_error")
    assert "secret" not in str(error)


def test_every_error_under_v1_has_the_shape(make_client):
    client = make_client()
    for answer in (
        client.get("/v1/nothing"),
        client.get("/v1/audio/transcriptions"),
        client.post("/v1/audio/transcriptions", content=b"x", headers={"content-type": "text/x"}),
    ):
        assert answer.status_code >= 400
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert int(answer.headers["content-length"]) == len(answer.content)


def test_errors_elsewhere_keep_theirs(make_client):
    assert "type" not in make_client().get("/nothing").json()["error"]
