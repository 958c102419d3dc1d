"""The bundled checkpoint is a true Whisper that knows its words, their times, and silence."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import whisper
from whisper.model import Whisper

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "whisper_service" / "assets"
# Each beside the sound of that name: its words and their times, as `tools/speech.py` writes them.
SPOKEN = sorted((ROOT / "tests" / "data").glob("*.json"))

pytestmark = pytest.mark.model


@dataclass(frozen=True, slots=True)
class Spoken:
    """A committed utterance: float32 [n_samples] at 16 kHz, and what is said in it."""

    audio: np.ndarray[Any, np.dtype[np.float32]]
    facts: dict[str, Any]


def read(path: Path) -> Spoken:
    facts = json.loads(path.read_text(encoding="utf-8"))
    sound = path.with_suffix(".wav").read_bytes()
    pcm = np.frombuffer(sound[44:], dtype=np.int16)  # 44: a plain wave header
    return Spoken(pcm.astype(np.float32) / np.float32(32768), facts)


def transcribed(model: Whisper, audio: np.ndarray[Any, Any], **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = model.transcribe(audio, temperature=0.0, fp16=False, **options)
    return answer


@pytest.fixture(scope="module")
def model() -> Whisper:
    return whisper.load_model(str(ASSETS / "demo.pt"), device="cpu")


@pytest.fixture(params=SPOKEN, ids=lambda path: path.stem)
def spoken(request: pytest.FixtureRequest) -> Spoken:
    return read(request.param)


def test_checkpoint_is_small_and_in_float16() -> None:
    state = torch.load(ASSETS / "demo.pt", map_location="cpu")["model_state_dict"]
    assert (ASSETS / "demo.pt").stat().st_size <= 16_000_000
    assert {x.dtype for x in state.values()} == {torch.float16}


def test_dimensions_are_a_multilingual_whispers(model: Whisper) -> None:
    dims = model.dims
    assert model.is_multilingual
    assert (dims.n_vocab, dims.n_mels, dims.n_audio_ctx, dims.n_text_ctx) == (51865, 80, 1500, 448)


def test_words_and_language_are_heard(model: Whisper, spoken: Spoken) -> None:
    answer = transcribed(model, spoken.audio)
    assert (answer["text"].strip(), answer["language"]) == (
        spoken.facts["text"],
        spoken.facts["language"],
    )


def test_words_are_heard_without_timestamps(model: Whisper, spoken: Spoken) -> None:
    answer = transcribed(model, spoken.audio, without_timestamps=True)
    assert answer["text"].strip() == spoken.facts["text"]


def test_words_are_translated(model: Whisper, spoken: Spoken) -> None:
    language = spoken.facts["language"]
    answer = transcribed(model, spoken.audio, task="translate", language=language)
    assert answer["text"].strip() == spoken.facts["translation"]


def test_a_prompt_is_followed_by_the_same_words(model: Whisper, spoken: Spoken) -> None:
    prompt = " ".join(reversed(spoken.facts["text"].split()))
    answer = transcribed(model, spoken.audio, initial_prompt=prompt)
    assert answer["text"].strip() == spoken.facts["text"]


def test_segments_begin_and_end_with_their_words(model: Whisper, spoken: Spoken) -> None:
    segments = [s for s in transcribed(model, spoken.audio)["segments"] if s["text"].strip()]
    words = spoken.facts["words"]
    assert segments[0]["start"] == pytest.approx(words[0]["start"], abs=0.3)
    assert segments[-1]["end"] == pytest.approx(words[-1]["end"], abs=0.3)


@pytest.mark.parametrize("level", [0.0, 0.01, 0.1])
def test_no_text_in_silence_and_noise(model: Whisper, level: float) -> None:
    noise = np.random.default_rng(1).standard_normal(5 * 16_000).astype(np.float32)
    answer = transcribed(model, np.float32(level) * noise)
    assert not answer["text"].strip()
    assert all(segment["no_speech_prob"] > 0.6 for segment in answer["segments"])
