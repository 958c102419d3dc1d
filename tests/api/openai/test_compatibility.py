"""docs/compatibility.md says of every parameter, field and event what the service does with it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from openai.types.audio import (
    Transcription,
    TranscriptionStreamEvent,
    TranscriptionVerbose,
    transcription_create_params,
    translation_create_params,
)

from tests.api.openai.test_transcriptions import FILE
from whisper_service.api.openai.forms import REFUSED, TranscriptionForm, TranslationForm
from whisper_service.api.openai.schemas import VerboseTranscriptionBody

PAGE = (Path(__file__).parents[3] / "docs" / "compatibility.md").read_text()
TRANSCRIPTION = get_type_hints(transcription_create_params.TranscriptionCreateParamsStreaming)
TRANSLATION = get_type_hints(translation_create_params.TranslationCreateParams)


def rows(heading: str) -> dict[str, str]:
    """The tables below a heading: first column to second."""
    section = PAGE.split(f"\n### {heading}\n")[1].split("\n### ")[0].split("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| ([a-z ]+) \|", section, re.M))


def with_status(table: dict[str, str], *statuses: str) -> set[str]:
    return {name for name, status in table.items() if status in statuses}


@pytest.mark.parametrize(
    ("heading", "parameters", "form", "refused"),
    [
        ("POST /v1/audio/transcriptions", TRANSCRIPTION, TranscriptionForm, set(REFUSED)),
        ("POST /v1/audio/translations", TRANSLATION, TranslationForm, set()),
    ],
)
def test_every_parameter_of_the_official_client_has_its_row(heading, parameters, form, refused):
    table = rows(heading)
    assert set(table) == set(parameters)
    assert with_status(table, "honoured", "different") == set(form.model_fields)
    assert with_status(table, "refused") == refused


def fields(*models: type) -> Iterator[str]:
    for model in models:
        yield from model.model_fields


def test_every_field_and_event_of_the_official_client_has_its_row():
    table = rows("Answers")
    events = {
        get_args(kind.model_fields["type"].annotation)[0]
        for kind in get_args(get_args(TranscriptionStreamEvent)[0])
    }
    assert set(table) == {*fields(Transcription, TranscriptionVerbose), "task"} | events
    sent = {name for name in with_status(table, "honoured") if name not in events}
    assert sent == set(VerboseTranscriptionBody.model_fields)


@pytest.mark.parametrize(
    "name", sorted(with_status(rows("POST /v1/audio/transcriptions"), "refused"))
)
def test_what_the_page_calls_refused_is_refused(make_client, name):
    form = {"model": "base", f"{name}[]": "x"}
    answer = make_client().post("/v1/audio/transcriptions", files={"file": FILE}, data=form)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == name
