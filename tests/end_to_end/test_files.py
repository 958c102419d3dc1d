"""Uploads to the running service, with the bundled model, on recordings of known words."""

import json
import re
from statistics import median
from typing import Any

import httpx
import pytest

from tests.end_to_end.service import Service
from tests.end_to_end.spoken import path, spoken_words
from tests.end_to_end.stream_client import words

pytestmark = pytest.mark.ray


def transcribe(service: Service, name: str, **fields: str) -> httpx.Response:
    with path(name).open("rb") as file:
        answer = httpx.post(
            f"{service.http}/transcribe", files={"file": file}, data=fields, timeout=60
        )
    answer.raise_for_status()
    return answer


@pytest.mark.parametrize("name", ["english", "commands", "german", "spanish"])
def test_a_file_becomes_its_words_in_its_language(service: Service, name: str) -> None:
    answer: dict[str, Any] = transcribe(service, name).json()
    assert words(answer["text"]) == spoken_words(name)
    assert answer["language"] == {"german": "de", "spanish": "es"}.get(name, "en")


def test_translation_is_english(service: Service) -> None:
    answer = transcribe(service, "german", task="translate").json()
    assert words(answer["text"]) == ["one", "two", "three", "four", "five", "six", "seven"]


@pytest.mark.parametrize("form", ["json", "verbose_json", "text", "srt", "vtt", "tsv"])
def test_every_format_holds_the_same_words(service: Service, form: str) -> None:
    answer = transcribe(service, "english", response_format=form)
    if form.endswith("json"):
        text = answer.json()["text"]
    else:
        frame = r"^(WEBVTT|start\tend\ttext|.*-->.*|\d+\t\d+\t|\d+$)"
        text = re.sub(frame, "", answer.text, flags=re.M)
    assert words(text) == spoken_words("english")


def test_word_times_are_near_the_truth(service: Service) -> None:
    answer = transcribe(
        service, "english", word_timestamps="true", response_format="verbose_json"
    ).json()
    truth = json.loads(path("english").with_suffix(".json").read_text())["words"]
    off = [abs(a["start"] - b["start"]) for a, b in zip(answer["words"], truth, strict=True)]
    assert median(off) < 0.4
    assert max(off) < 0.6
