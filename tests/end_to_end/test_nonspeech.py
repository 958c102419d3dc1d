"""Sounds before, between and after real speech, as uploads to `base`: the words that are spoken, in
their language, where they are spoken, and nothing else."""

import io
import wave
from typing import Any

import httpx
import numpy as np
import pytest

from tests import real
from tests.end_to_end.service import Service
from tests.end_to_end.word_errors import BOUND, BOUNDS, word_error_rate
from tests.nonspeech import N_SOUNDS, sound
from tests.real import CLIPS, Clip
from whisper_service.types import SAMPLE_RATE, Audio

pytestmark = [pytest.mark.ray, pytest.mark.real]

SPOKEN = ("clean-1", "german-1", "other-1", "french", "clean-2", "german-2", "jfk", "telephone")
TOO_EARLY, TOO_LATE = 0.3, 0.5
"""Seconds that a cue may begin before its clip, and end after it."""
SECONDS_BETWEEN = (5.0, 60.0)


def upload(service: Service, audio: Audio, path: str = "transcribe", **fields: str) -> Any:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        writer.writeframes((audio * 32767).astype("<i2").tobytes())
    files = {"file": ("a.wav", file.getvalue())}
    answer = httpx.post(f"{service.http}/{path}", files=files, data=fields, timeout=120)
    answer.raise_for_status()
    return answer.json()


@pytest.mark.parametrize("number", range(N_SOUNDS // 10))
@pytest.mark.parametrize("vad_filter", ["true", "false"])
def test_nothing_is_written_where_nobody_speaks(
    service: Service, number: int, vad_filter: str
) -> None:
    name, audio = sound(10 * number + number % 10)
    fields = {"response_format": "verbose_json", "vad_filter": vad_filter}
    answer = upload(service, audio, **fields)
    assert (answer["text"], answer["segments"]) == ("", []), name


def test_both_routes_say_that_nobody_speaks(service: Service) -> None:
    _, ringing = sound(7)
    transcript = upload(service, ringing, response_format="verbose_json")
    detection = upload(service, ringing, path="detect-language")
    assert transcript["language"] == detection["language"] == ""
    assert transcript["warnings"] == detection["warnings"] == ["No speech was heard in the audio."]


@pytest.mark.parametrize("number", range(N_SOUNDS // 5))
def test_speech_among_sounds_is_all_that_is_written(service: Service, number: int) -> None:
    name, noise = sound(number * 3 + 1, *SECONDS_BETWEEN)
    first, second = (CLIPS[SPOKEN[(number + i) % len(SPOKEN)]] for i in (0, 3))
    parts = {
        0: [noise, first],
        1: [first, noise],
        2: [first, noise, second],
    }[number % 3]
    answer = upload(service, joined(parts), response_format="verbose_json")
    assert answer["language"] == first.language, name
    for clip, start, end in places(parts):
        written = [
            segment
            for segment in answer["segments"]
            if start - TOO_EARLY <= segment["start"] and segment["end"] <= end + TOO_LATE
        ]
        text = "".join(segment["text"] for segment in written)
        rate = word_error_rate(clip.text, text, clip.language)
        assert rate <= BOUNDS.get(clip.name, BOUND) + 0.05, f"{name}: {rate:.0%} in {text!r}"
        assert {segment["language"] for segment in written} == {clip.language}, name
        answer["segments"] = [s for s in answer["segments"] if s not in written]
    assert answer["segments"] == [], name


def joined(parts: list[Audio | Clip]) -> Audio:
    return np.concatenate([samples_of(part) for part in parts])


def places(parts: list[Audio | Clip]) -> list[tuple[Clip, float, float]]:
    """Where each clip begins and ends, in seconds."""
    found, at = [], 0.0
    for part in parts:
        end = at + len(samples_of(part)) / SAMPLE_RATE
        if isinstance(part, Clip):
            found.append((part, at, end))
        at = end
    return found


def samples_of(part: Audio | Clip) -> Audio:
    return real.samples(part) if isinstance(part, Clip) else part


def test_every_stretch_of_speech_is_written_in_its_own_language(service: Service) -> None:
    """Seconds of silence lie between them; `multilingual` off keeps to the first one's."""
    pause = np.zeros(2 * SAMPLE_RATE, np.float32)
    clips = [CLIPS[name] for name in ("clean-1", "german-1", "french")]
    audio = joined([part for clip in clips for part in (clip, pause)])
    answer = upload(service, audio, response_format="verbose_json")
    languages = list(dict.fromkeys(segment["language"] for segment in answer["segments"]))
    assert (answer["language"], languages) == ("en", ["en", "de", "fr"])
    once = upload(service, audio, response_format="verbose_json", multilingual="false")
    assert {segment["language"] for segment in once["segments"]} == {"en"}


def test_a_language_is_chosen_from_those_allowed(service: Service) -> None:
    audio = real.samples(CLIPS["german-1"])
    assert upload(service, audio, allowed_languages="de, french")["language"] == "de"
    found = upload(service, audio, path="detect-language", allowed_languages="en,fr")
    assert found["language"] in ("en", "fr")
    assert set(found["probabilities"]) == {"en", "fr"}
