"""What clients of other servers send to /v1/audio is honoured, ignored by name, or refused."""

import pytest

from tests.api.fakes import level, wav
from whisper_service.api.files import transcription
from whisper_service.api.fronts.openai.extensions import IGNORED, REFUSED, RENAMED, Extensions
from whisper_service.audio.vad import SileroDetector

PATH = "/v1/audio/transcriptions"
FILE = ("a.wav", wav(level(7)))


@pytest.fixture
def post(make_client):
    client = make_client()

    def send(path=PATH, **fields):
        form = {"model": "base", "response_format": "verbose_json", **fields}
        return client.post(path, files={"file": FILE}, data=form)

    return send


@pytest.mark.parametrize("path", [PATH, "/v1/audio/translations"])
def test_faster_whispers_options_reach_the_decoder(post, decoder, path):
    answer = post(
        path,
        beam_size="3",
        best_of="4",
        patience="2",
        length_penalty="0.5",
        compression_ratio_threshold="2",
        log_prob_threshold="-0.5",
        no_speech_threshold="0.4",
        max_new_tokens="64",
        word_timestamps="true",
        hallucination_silence_threshold="2",
    )
    assert answer.status_code == 200, answer.text
    options = decoder.jobs[0].options
    assert (options.beam_size, options.best_of, options.patience) == (3, 4, 2.0)
    assert (options.length_penalty, options.compression_ratio_threshold) == (0.5, 2.0)
    assert (options.logprob_threshold, options.no_speech_threshold) == (-0.5, 0.4)
    assert (options.max_tokens, options.timestamps) == (64, "word")
    assert options.hallucination_silence_threshold == 2.0
    assert answer.json()["words"]


def test_other_names_mean_the_same(post, decoder):
    post(initial_prompt="Zahlen", logprob_thold="-0.5", max_completion_tokens="64")
    options = decoder.jobs[0].options
    assert (options.prompt, options.logprob_threshold, options.max_tokens) == ("Zahlen", -0.5, 64)
    assert set(RENAMED.values()) <= {*Extensions.model_fields, "prompt"}


def test_hotwords_come_after_the_prompt_where_no_long_one_pushes_them_out(post, decoder):
    post(prompt="A talk.", hotwords="Ray, KubeRay")
    assert decoder.jobs[0].options.prompt == "A talk. Ray, KubeRay."


def test_speech_need_not_be_looked_for(post, monkeypatch):
    monkeypatch.setattr(transcription, "SileroDetector", SileroDetector)
    assert post().json()["text"] == ""  # a level is no speech
    assert post(vad_filter="False").json()["text"] == "level 7"


def test_words_are_left_out_where_the_format_cannot_carry_them(post, decoder):
    assert post(word_timestamps="true", response_format="text").text == "level 7\n"
    assert decoder.jobs[0].options.timestamps == "segment"


@pytest.mark.parametrize("stream", ["true", "false"])
def test_what_has_no_effect_is_named(post, stream):
    answer = post(user="someone", seed="1", stream=stream, response_format="json")
    assert answer.status_code == 200
    assert answer.headers["X-Ignored-Fields"] == "user, seed"
    assert "X-Ignored-Fields" not in post(seed="").headers


def test_every_ignored_field_is(post, decoder):
    assert post(**dict.fromkeys(IGNORED, "1")).json()["text"] == "level 7"
    assert post().json()["text"] == "level 7"
    assert decoder.jobs[0].options == decoder.jobs[1].options


def test_a_strict_service_refuses_what_has_no_effect(make_client, decoder):
    client = make_client(strict_fields=True)
    answer = client.post(PATH, files={"file": FILE}, data={"model": "base", "seed": "1"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "seed")
    assert "WHISPER_STRICT_FIELDS" in answer.json()["error"]["message"]
    assert decoder.jobs == []
    fields = {"model": "base", "vad_filter": "true", "user": ""}
    assert client.post(PATH, files={"file": FILE}, data=fields).status_code == 200


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_another_transcript_is_refused(post, decoder, name):
    error = post(**{name: "5"}).json()["error"]
    assert error["param"] == name
    assert decoder.jobs == []
    assert post(**{name: ""}).status_code == 200


def test_the_task_of_the_path_may_be_said(post):
    assert post(task="transcribe").status_code == 200
    assert post("/v1/audio/translations", task="translate").status_code == 200
    answer = post("/v1/audio/translations", task="transcribe")
    assert answer.status_code == 400
    assert "`task` cannot be honoured" in answer.json()["error"]["message"]


@pytest.mark.parametrize("value", ["[" * 5000, '["word", 5]', "[5]", "[", "{}"])
def test_a_list_in_json_that_is_none_is_refused(post, value):
    answer = post(timestamp_granularities=value)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "timestamp_granularities")


@pytest.mark.parametrize("keywords", ['["Ray", "KubeRay"]', "Ray, KubeRay"])
def test_keywords_are_expected_too(post, decoder, keywords):
    post(keywords=keywords, prompt="A talk.")
    assert decoder.jobs[0].options.prompt == "A talk. Ray, KubeRay."
