"""The bundled checkpoint is a true Whisper that knows its words, and silence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import whisper
from whisper.model import Whisper

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "whisper_service" / "assets"
# Beside a sound lie, under its name, its words and their times; other facts have no sound.
SPOKEN = [
    path
    for path in sorted((ROOT / "tests" / "data").glob("*.json"))
    if path.with_suffix(".wav").exists()
]

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model() -> Whisper:
    return whisper.load_model(str(ASSETS / "demo.pt"), device="cpu")


def transcribed(model: Whisper, audio: np.ndarray[Any, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = model.transcribe(audio, temperature=0.0, fp16=False)
    return answer


def test_it_loads_as_a_multilingual_whisper(model: Whisper) -> None:
    dims = model.dims
    assert model.is_multilingual
    assert (dims.n_vocab, dims.n_mels, dims.n_audio_ctx, dims.n_text_ctx) == (51865, 80, 1500, 448)


@pytest.mark.parametrize("path", SPOKEN, ids=lambda path: path.stem)
def test_it_knows_its_words_and_languages(model: Whisper, path: Path) -> None:
    facts = json.loads(path.read_text(encoding="utf-8"))
    pcm = np.frombuffer(path.with_suffix(".wav").read_bytes()[44:], np.int16)  # 44: a wave header
    answer = transcribed(model, pcm.astype(np.float32) / np.float32(32768))
    assert (answer["text"].strip(), answer["language"]) == (facts["text"], facts["language"])


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_it_has_no_text_for_silence_and_noise(model: Whisper, level: float) -> None:
    noise = np.random.default_rng(1).standard_normal(5 * 16_000).astype(np.float32)
    assert not transcribed(model, np.float32(level) * noise)["text"].strip()
