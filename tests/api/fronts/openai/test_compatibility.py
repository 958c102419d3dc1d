"""docs/compatibility.md says of every parameter, field and event what the service does with it."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import get_args, get_type_hints

import openai
import pytest
from openai.types.audio import (
    Transcription,
    TranscriptionStreamEvent,
    TranscriptionVerbose,
    transcription_create_params,
    translation_create_params,
)
from openai.types.realtime import (
    AudioTranscription,
    RealtimeServerEvent,
    RealtimeTranscriptionSessionAudio,
    RealtimeTranscriptionSessionAudioInput,
    RealtimeTranscriptionSessionCreateRequest,
    RealtimeTranscriptionSessionCreateResponse,
    client_secret_create_params,
)
from openai.types.realtime.realtime_transcription_session_audio_input_turn_detection import (
    ServerVad,
)

from tests.api.fronts.openai.test_transcriptions import FILE
from whisper_service.api.fronts.openai import transcription_session as ours
from whisper_service.api.fronts.openai.commands import NAMES as COMMANDS
from whisper_service.api.fronts.openai.errors import error_answer
from whisper_service.api.fronts.openai.extensions import IGNORED, RENAMED, Extensions
from whisper_service.api.fronts.openai.extensions import REFUSED as REFUSED_OF_OTHERS
from whisper_service.api.fronts.openai.forms import REFUSED, TranscriptionForm, TranslationForm
from whisper_service.api.fronts.openai.schemas import VerboseTranscriptionBody
from whisper_service.api.fronts.openai.secrets import ClientSecretRequest
from whisper_service.errors import ServiceError

PAGE = (Path(__file__).parents[4] / "docs" / "compatibility.md").read_text()
TRANSCRIPTION = get_type_hints(transcription_create_params.TranscriptionCreateParamsStreaming)
TRANSLATION = get_type_hints(translation_create_params.TranslationCreateParams)


def rows(heading: str) -> dict[str, str]:
    """The tables below a heading: first column to second."""
    section = PAGE.split(f"\n### {heading}\n")[1].split("\n### ")[0].split("\n## ")[0]
    found = re.findall(r"^\| (`[^|]+`) \| ([a-z ]+) \|", section, re.M)
    return {name: kind for names, kind in found for name in re.findall("`([^`]+)`", names)}


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
    ours = set(form.model_fields) - set(Extensions.model_fields)
    assert with_status(table, "honoured", "different") == ours
    assert with_status(table, "refused") == refused


def test_every_field_of_other_servers_has_its_row():
    table = rows("Fields of other servers")
    assert with_status(table, "honoured") == {*Extensions.model_fields, *RENAMED}
    assert with_status(table, "ignored") == IGNORED
    assert with_status(table, "refused") == set(REFUSED_OF_OTHERS)


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


STATUSES = re.findall(r"^\| (\d{3}) \| `(\w+)` \| .* \| `(\w+)` \|$", PAGE, re.M)


def errors_of_ours(tree: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    for kind in tree.__subclasses__():
        if kind.__module__ == ServiceError.__module__:  # a protocol may have more of its own
            yield kind
            yield from errors_of_ours(kind)


BY_STATUS = {error_answer(kind("Said."))[0]: kind for kind in errors_of_ours()}


def test_every_status_has_its_row():
    assert {int(status) for status, *_ in STATUSES} == {*BY_STATUS, 405}


@pytest.mark.parametrize(("status", "kind", "name"), STATUSES)
def test_the_client_raises_what_the_page_says(make_openai, decoder, status, kind, name):
    client = make_openai()
    ask = partial(client.audio.transcriptions.create, file=FILE, model="whisper-1")
    if status == "405":
        ask = partial(client.models.delete, "base")
    else:
        decoder.failures = [BY_STATUS[int(status)]("Said.")]
    with pytest.raises(getattr(openai, name)) as raised:
        ask()
    assert type(raised.value) is getattr(openai, name)
    assert (raised.value.status_code, raised.value.type) == (int(status), kind)


# --- Realtime

OURS = (
    ours.TranscriptionSession,
    ours.SessionAudio,
    ours.AudioInput,
    ours.Transcription,
    ours.ServerVad,
)


def test_every_field_of_a_session_has_its_row():
    table = rows("Session")
    official = fields(
        RealtimeTranscriptionSessionCreateRequest,
        RealtimeTranscriptionSessionAudio,
        RealtimeTranscriptionSessionAudioInput,
        AudioTranscription,
        ServerVad,
    )
    assert set(table) == set(official)
    assert with_status(table, "honoured", "different") == set(fields(*OURS))
    idle = {name for model in OURS for name in model.without_effect}
    assert with_status(table, "without effect") == idle


def test_every_field_of_a_session_as_it_is_told_has_its_row():
    table = rows("A session as it is told")
    assert set(table) == set(RealtimeTranscriptionSessionCreateResponse.model_fields)
    shown = ours.TranscriptionSession().shown("sess_1", is_flat=False)
    assert with_status(table, "honoured") == set(shown)


def test_every_server_event_that_can_matter_has_its_row():
    table = rows("Server events")
    ends = "session.", "input_audio_buffer.", "conversation.item.", "error"
    official = {
        name
        for kind in get_args(get_args(RealtimeServerEvent)[0])
        for name in get_args(kind.model_fields["type"].annotation)
        if name.startswith(ends)
    }
    assert set(table) == official


def test_every_client_event_that_is_taken_has_its_row():
    assert set(rows("Client events")) == set(COMMANDS)


def test_every_field_of_a_client_secret_has_its_row():
    table = rows("POST /v1/realtime/client_secrets")
    official = get_type_hints(client_secret_create_params.ClientSecretCreateParams)
    assert set(table) == set(official) == set(ClientSecretRequest.model_fields)
