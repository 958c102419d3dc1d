"""What /docs says of the routes under /v1."""

import pytest

from tests.api.fakes import level, wav
from whisper_service.api.files.errors import FILE_ERRORS
from whisper_service.api.fronts.openai import schemas
from whisper_service.api.fronts.openai.errors import error_answer


@pytest.fixture
def paths(make_client):
    return make_client().get("/openapi.json").json()["paths"]


@pytest.mark.parametrize("route", ["transcriptions", "translations"])
def test_every_error_is_documented_as_it_is_answered(paths, route):
    responses = paths[f"/v1/audio/{route}"]["post"]["responses"]
    for error in FILE_ERRORS:
        status, body, _ = error_answer(error)
        content = responses[str(status)]["content"]["application/json"]
        shown = content["examples"][body["error"]["code"]]["value"]["error"]
        assert {"param": None, **shown} == body["error"]  # FastAPI leaves null out of its document
        assert content["schema"] == {"$ref": "#/components/schemas/OpenAIErrorBody"}


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("json", schemas.TranscriptionBody),
        ("verbose_json", schemas.VerboseTranscriptionBody),
    ],
)
def test_what_is_documented_is_what_is_answered(make_client, paths, name, model):
    form = {"model": "base", "response_format": name}
    files = {"file": ("a.wav", wav(level(7)))}
    answer = make_client().post("/v1/audio/transcriptions", files=files, data=form)
    model.model_validate(answer.json())
    ok = paths["/v1/audio/transcriptions"]["post"]["responses"]["200"]
    model.model_validate(ok["content"]["application/json"]["examples"][name]["value"])
