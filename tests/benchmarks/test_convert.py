"""A converted checkpoint is one that faster-whisper's engine takes."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from whisper.model import ModelDimensions, Whisper

pytest.importorskip("ctranslate2", reason="needs faster-whisper")
pytestmark = pytest.mark.model


@pytest.mark.parametrize(("n_vocab", "is_multilingual"), [(51864, False), (51865, True)])
def test_a_converted_checkpoint_is_loaded(
    tmp_path: Path, n_vocab: int, is_multilingual: bool
) -> None:
    from ctranslate2.models import Whisper as Converted

    from benchmarks.convert import converted

    dims = ModelDimensions(80, 1500, 64, 1, 1, n_vocab, 448, 64, 1, 1)
    checkpoint = {"dims": asdict(dims), "model_state_dict": Whisper(dims).state_dict()}
    torch.save(checkpoint, tmp_path / "model.pt")
    folder = converted(tmp_path / "model.pt", tmp_path / "converted")
    assert Converted(str(folder)).is_multilingual == is_multilingual
    first = (folder / "model.bin").stat().st_ino
    assert (converted(tmp_path / "model.pt", folder) / "model.bin").stat().st_ino == first
