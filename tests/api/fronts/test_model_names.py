"""The names that clients have for models, on every protocol; and who answers for the default."""

import dataclasses

import pytest

from tests.api.fakes import level, model, wav

UPLOAD = {"file": ("a.wav", wav(level(7, 1.0)))}


def asked(decoder) -> str:
    (name,) = set(decoder.models_asked)
    return name


@pytest.mark.parametrize(
    ("name", "means"),
    [
        (None, "base"),
        ("openai/whisper-small", "small"),
        ("Systran/faster-whisper-small", "small"),
        ("whisper-small", "small"),
        ("whisper-1", "base"),
        ("gpt-4o-mini-transcribe", "base"),
        ("ours", "small"),
    ],
)
@pytest.mark.parametrize("path", ["/transcribe", "/detect-language"])
def test_files(make_client, decoder, path, name, means):
    client = make_client(model_aliases="ours=small")
    answer = client.post(path, files=UPLOAD, data={} if name is None else {"model_size": name})
    assert answer.status_code == 200, answer.text
    assert asked(decoder) == means


@pytest.mark.parametrize("name", ["openai/whisper-small", "whisper-small"])
def test_openais_files(make_client, decoder, name):
    answer = make_client().post("/v1/audio/transcriptions", files=UPLOAD, data={"model": name})
    assert answer.status_code == 200, answer.text
    assert asked(decoder) == "small"


def test_streams_say_which_model_they_use(make_client, decoder):
    with make_client().websocket_connect("/stream") as socket:
        socket.send_json({"model_size": "openai/whisper-small"})
        assert socket.receive_json()["config"]["model_size"] == "small"


def test_a_model_of_the_folder_keeps_its_own_name(make_client, decoder):
    decoder.known.append(model("whisper-small"))
    make_client().post("/transcribe", files=UPLOAD, data={"model_size": "whisper-small"})
    assert asked(decoder) == "whisper-small"


def test_openais_list_begins_with_what_answers_now(make_client, decoder):
    decoder.known.insert(0, model("small", is_loaded=True))
    ids = [entry["id"] for entry in make_client().get("/v1/models").json()["data"]]
    assert ids[:2] == ["whisper-1", "small"]
    assert "large" not in ids


@pytest.mark.parametrize("name", ["whisper-1", "base", "openai/whisper-base"])
def test_openais_lookup_takes_every_name(make_client, name):
    assert make_client().get(f"/v1/models/{name}").json()["id"] == name


@pytest.fixture
def stand_in(decoder):
    """`demo` in place of `base`, which no source has."""
    there = {"has_weights": True, "is_loaded": True}
    demo = model("demo", **there, stands_in_for="base", reason="Nobody has `base`.")
    decoder.known[0] = dataclasses.replace(decoder.known[0], has_weights=False)
    decoder.known.insert(0, demo)
    return decoder


def test_demo_answers_for_a_default_that_cannot_be_had(make_client, stand_in):
    assert make_client().post("/transcribe", files=UPLOAD).status_code == 200
    assert asked(stand_in) == "demo"


def test_the_default_by_its_own_name_is_refused_with_the_reason(make_client, stand_in):
    answer = make_client().post("/transcribe", files=UPLOAD, data={"model_size": "base"})
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "Nobody has `base`."
    assert answer.headers["Retry-After"] == "30"


def test_the_list_of_models_says_who_answers_and_why(make_client, stand_in):
    body = make_client().get("/models").json()
    assert body["default"] == "demo"
    assert "knows 76 words" in body["notice"]
    assert "Nobody has `base`." in body["notice"]


def test_the_stats_warn_of_it(make_client, stand_in):
    (warning,) = make_client().get("/stats").json()["warnings"]
    assert warning["code"] == "demo_fallback"
    assert "knows 76 words" in warning["message"]


def test_the_docs_say_who_answers_on_top(make_client, stand_in):
    page = make_client().get("/docs").text
    assert "knows 76 words" in page.split('id="swagger-ui"')[0]


def test_no_notice_where_the_default_answers(make_client, decoder):
    assert make_client().get("/models").json()["notice"] is None
    assert 'role="status"' not in make_client().get("/docs").text
