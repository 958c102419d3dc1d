from pathlib import Path
from typing import get_args

import pytest

from whisper_service import errors
from whisper_service.api.files.errors import FILE_ERRORS
from whisper_service.api.fronts.jobs.schemas import JobBody, JobForm, WebhookBody
from whisper_service.api.fronts.native.files import DetectionBody
from whisper_service.api.fronts.native.guide import GUIDE
from whisper_service.api.fronts.native.messages import (
    ConfigMessage,
    Finalize,
    Keepalive,
    ResumeMessage,
    ServerMessage,
    Stop,
)
from whisper_service.api.schemas.forms import TranscribeForm
from whisper_service.api.schemas.transcripts import (
    SegmentBody,
    TranscriptBody,
    VerboseTranscriptBody,
    WordBody,
)
from whisper_service.formats import segment_fields, to_json, to_verbose_json
from whisper_service.types import Segment, Transcript, Word


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json()


def schemas(document):
    """Ours; FastAPI adds two of its own for the answers it would give."""
    return document["components"]["schemas"].items()


def test_every_field_has_a_description_and_an_example(document):
    missing = [
        f"{name}.{field}"
        for name, schema in schemas(document)
        for field, value in schema.get("properties", {}).items()
        if "description" not in value
    ]
    assert missing == []


def test_every_form_field_shows_an_example(document):
    fields = document["components"]["schemas"]["TranscribeForm"]["properties"]
    assert [name for name, value in fields.items() if "examples" not in value] == ["file"]


def test_every_route_has_a_summary_and_a_description(document):
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["description"]


def test_every_error_is_documented_as_it_is_answered(document):
    for path in ("/transcribe", "/detect-language"):
        responses = document["paths"][path]["post"]["responses"]
        for error in FILE_ERRORS:
            content = responses[str(error.http_status)]["content"]["application/json"]
            assert content["examples"][error.code]["value"] == error.as_dict()
            assert content["schema"] == {"$ref": "#/components/schemas/ErrorBody"}


def test_no_answer_of_another_shape_is_announced(document):
    assert "HTTPValidationError" not in dict(schemas(document))


def test_the_default_model_is_shown(make_client):
    document = make_client(default_model="demo").get("/openapi.json").json()
    field = document["components"]["schemas"]["TranscribeForm"]["properties"]["model_size"]
    assert field["default"] == "demo"


def test_every_message_of_the_socket_is_described(document):
    text = document["info"]["description"]
    for word in ("ready", "speech_started", "partial", "final", "speech_ended", "warning", "done"):
        assert f"**`{word}`**" in text
    for word in ("chunk_duration", "endpoint_silence", "resume", "finalize", "keepalive", "1012"):
        assert word in text


def test_the_reference_names_every_field_message_and_error():
    reference = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    models = (
        JobForm,
        JobBody,
        WebhookBody,
        TranscribeForm,
        VerboseTranscriptBody,
        SegmentBody,
        WordBody,
        DetectionBody,
    )
    models += (ConfigMessage, ResumeMessage, Finalize, Keepalive, Stop, *get_args(ServerMessage))
    names = {field for model in models for field in model.model_fields}
    names |= {model.model_fields["type"].default for model in get_args(ServerMessage)}
    names |= {value.code for value in vars(errors).values() if hasattr(value, "code")}
    names.discard("invalid_audio")  # only the kinds of it are raised
    assert sorted(name for name in names if name not in reference) == []


def test_the_table_of_the_configuration_says_ranges_and_defaults():
    table = GUIDE
    assert "| `chunk_duration` | number, 0.5 to 28 |" in table
    assert "| `channels` | whole number, 1 to 8 |" in table
    assert "averaged to one. Default `1`." in table
    assert 'Default `"pcm_s16le"`.' in table


def test_the_page_loads_nothing_from_elsewhere(client):
    html = client.get("/docs").text
    assert "//" not in html.replace("<!--", "").replace("-->", "")
    assert client.get("/docs/assets/swagger-ui-bundle.js").status_code == 200
    assert client.get("/docs/assets/swagger-ui.css").status_code == 200


def test_what_is_documented_is_what_is_answered():
    word = Word(" one", 0.0, 0.5, 0.9)
    segment = Segment(0, 0.0, 0.5, " one", words=(word,))
    transcript = Transcript("en", 1.0, (segment,))
    SegmentBody.model_validate(segment_fields(segment))
    TranscriptBody.model_validate(to_json(transcript))
    VerboseTranscriptBody.model_validate(to_verbose_json(transcript))
