"""The bundled model, loaded once: as our engine and as openai-whisper's own."""

from pathlib import Path

import pytest
import torch
import whisper
from whisper.model import Whisper

from whisper_service.engine.engine import Engine, load_engine


@pytest.fixture(scope="session")
def demo(demo_path: Path) -> Engine:
    return load_engine("demo", demo_path.parent, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def reference(demo_path: Path) -> Whisper:
    return whisper.load_model(str(demo_path), device="cpu").float().eval()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """The model is so small that threads would only wait for each other."""
    torch.set_num_threads(1)
