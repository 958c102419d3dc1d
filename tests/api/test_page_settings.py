"""The web client's defaults and limits, by the file that tests/web holds its settings to."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from whisper_service.api.fronts.native.messages import ConfigMessage
from whisper_service.api.schemas.forms import TranscribeForm

SETTINGS = json.loads((Path(__file__).parents[1] / "data" / "settings.json").read_text())


@pytest.mark.parametrize(
    ("model", "settings"),
    [(ConfigMessage, SETTINGS["stream"]), (TranscribeForm, SETTINGS["file"])],
    ids=["stream", "file"],
)
def test_the_page_has_the_defaults_and_limits_of_the_service(
    model: type[BaseModel], settings: dict[str, Any]
) -> None:
    fields = model.model_json_schema()["properties"]
    assert {name: limits(fields[name]) for name in settings} == settings


def limits(field: dict[str, Any]) -> dict[str, Any]:
    """Default and range; those of an optional number are a level deeper."""
    number = next(iter(field.get("anyOf", [field])))
    ranges = {name: number[name] for name in ("minimum", "maximum") if name in number}
    return {"default": field["default"], **ranges}
