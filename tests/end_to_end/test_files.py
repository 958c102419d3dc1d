"""Uploads to the running service: real speech to `base`, and known times to the bundled model."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest

from tests import real
from tests.end_to_end.service import Service
from tests.end_to_end.spoken import path
from tests.end_to_end.word_errors import assert_right, word_error_rate
from tests.real import CLIPS, Clip

pytestmark = pytest.mark.ray

N_MORE = 8
"""Of more speech, so many clips of every kind."""
MOST_WRONG = {"clean": 0.10, "other": 0.18, "noisy": 0.22, "telephone": 0.12}
"""`base` has 6, 11, 14 and 5 % on those; published are 5.0 (test-clean) and 12.9 % (test-other)."""


def transcribe(service: Service, path: Path, **fields: str) -> httpx.Response:
    with path.open("rb") as file:
        answer = httpx.post(
            f"{service.http}/transcribe", files={"file": file}, data=fields, timeout=120
        )
    answer.raise_for_status()
    return answer


@pytest.mark.real
@pytest.mark.parametrize("clip", CLIPS.values(), ids=CLIPS)
def test_a_file_becomes_its_words_in_its_language(service: Service, clip: Clip) -> None:
    answer: dict[str, Any] = transcribe(service, clip.path).json()
    assert_right(clip, answer["text"])
    assert answer["language"] == clip.language


@pytest.mark.real
def test_translation_is_english(service: Service) -> None:
    answer = transcribe(service, CLIPS["german-1"].path, task="translate", language="de").json()
    assert {"energy", "option", "is", "the"} <= set(re.findall(r"\w+", answer["text"].lower()))


@pytest.mark.real
@pytest.mark.parametrize("form", ["json", "verbose_json", "text", "srt", "vtt", "tsv"])
def test_every_format_holds_the_same_words(service: Service, form: str) -> None:
    clip = CLIPS["clean-1"]
    answer = transcribe(service, clip.path, response_format=form)
    if form.endswith("json"):
        text = answer.json()["text"]
    else:
        frame = r"^(WEBVTT|start\tend\ttext|.*-->.*|\d+\t\d+\t|\d+$)"
        text = re.sub(frame, "", answer.text, flags=re.M)
    assert_right(clip, text)


@pytest.mark.real
def test_words_have_times_in_order_within_the_file(service: Service) -> None:
    clip = CLIPS["live"]
    fields = {"word_timestamps": "true", "response_format": "verbose_json", "language": "en"}
    words = transcribe(service, clip.path, **fields).json()["words"]
    assert_right(clip, " ".join(word["word"] for word in words))
    starts = [word["start"] for word in words]
    assert starts == sorted(starts)
    assert all(0 <= word["start"] <= word["end"] <= clip.seconds + 0.01 for word in words)


def test_word_times_are_near_the_truth(service: Service) -> None:
    """Of synthetic speech the truth is known."""
    fields = {"word_timestamps": "true", "response_format": "verbose_json"}
    answer = transcribe(service, path("english"), model_size="demo", **fields).json()
    truth = json.loads(path("english").with_suffix(".json").read_text())["words"]
    off = [abs(a["start"] - b["start"]) for a, b in zip(answer["words"], truth, strict=True)]
    assert median(off) < 0.4
    assert max(off) < 0.6


@pytest.mark.real
@pytest.mark.parametrize("kind", MOST_WRONG)
def test_more_speech_of_every_kind(service: Service, kind: str) -> None:
    clips = [clip for clip in real.more_speech() if clip.set_name == kind][:N_MORE]

    def text(clip: Clip) -> str:
        return str(transcribe(service, clip.path, language="en").json()["text"])

    with ThreadPoolExecutor(N_MORE) as threads:
        texts = list(threads.map(text, clips))
    truth = " ".join(clip.text for clip in clips)
    assert word_error_rate(truth, " ".join(texts), "en") <= MOST_WRONG[kind]
