"""A grown copy computes the same function as the demo checkpoint."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import whisper
from whisper.model import ModelDimensions, Whisper

from benchmarks.grow import DEMO, SIZES, grow, grown_checkpoint
from tests.speech import speech

pytestmark = pytest.mark.model

TOKENS = torch.tensor([[50258, 50259, 50359, 50364, 472, 732, 50414]])


@pytest.fixture(scope="module")
def demo() -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(DEMO, map_location="cpu")
    return checkpoint


def built(checkpoint: dict[str, Any]) -> Whisper:
    model = Whisper(ModelDimensions(**checkpoint["dims"]))
    model.load_state_dict(checkpoint["model_state_dict"])
    return model.eval()


def sound(n_samples: int = 16_000 * 30) -> torch.Tensor:
    audio = np.random.default_rng(1).standard_normal(n_samples).astype(np.float32)
    return torch.as_tensor(whisper.log_mel_spectrogram(0.05 * audio))


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_grown_logits_are_equal(demo: dict[str, Any], size: str) -> None:
    mel = sound()[None]
    with torch.inference_mode():
        expected = built(demo)(mel, TOKENS)
        found = built(grow(demo, SIZES[size]))(mel, TOKENS)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_grown_dims_are_the_real_ones(demo: dict[str, Any], size: str) -> None:
    small = {**demo, "model_state_dict": {}}
    dims = grow(small, SIZES[size])["dims"]
    assert dims["n_audio_state"] == 64 * dims["n_audio_head"] == SIZES[size].width
    assert (dims["n_vocab"], dims["n_mels"]) == (51865, 80)


def test_growing_refuses_a_width_that_is_no_multiple(demo: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no multiple"):
        grow(demo, type(SIZES["tiny"])(400, 4, 4))


@pytest.mark.model
def test_a_grown_copy_writes_the_same_words(demo: dict[str, Any]) -> None:
    sample = speech("en_four_seven_nine")  # samples: for a path, openai-whisper wants an ffmpeg
    texts = [
        model.transcribe(sample, temperature=0.0, fp16=False, language="en")["text"]
        for model in (built(demo), built(grow(demo, SIZES["tiny"])))
    ]
    assert texts[0].split() == texts[1].split() == ["four", "seven", "nine"]


def test_a_grown_copy_is_written_once_and_again_when_the_demo_model_changes(tmp_path: Path) -> None:
    demo = tmp_path / "demo.pt"
    shutil.copy(DEMO, demo)
    grown = grown_checkpoint("tiny", tmp_path / "models", demo)
    assert whisper.load_model(str(grown), device="cpu").dims.n_text_state == 384
    first = grown.stat().st_ino
    assert grown_checkpoint("tiny", tmp_path / "models", demo).stat().st_ino == first
    older = demo.stat().st_mtime - 1
    os.utime(grown, (older, older))
    assert grown_checkpoint("tiny", tmp_path / "models", demo).stat().st_mtime > older
