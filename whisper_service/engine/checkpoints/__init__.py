"""Checkpoints of three formats, each read into openai-whisper's names and never run as code."""

from pathlib import Path

from whisper_service.engine.checkpoints.checkpoint import Checkpoint, CheckpointError
from whisper_service.engine.checkpoints.ctranslate2 import read_ctranslate2
from whisper_service.engine.checkpoints.huggingface import read_huggingface
from whisper_service.engine.checkpoints.openai import read_openai
from whisper_service.models.weight_files import CTRANSLATE2, SAFETENSORS, SAFETENSORS_INDEX

__all__ = ["Checkpoint", "CheckpointError", "read_checkpoint"]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the file or folder `path` and check that it is a Whisper. Raises `CheckpointError`."""
    if path.is_file():
        checkpoint = read_openai(path)
    elif any((path / name).is_file() for name in (SAFETENSORS, SAFETENSORS_INDEX)):
        checkpoint = read_huggingface(path)
    elif (path / CTRANSLATE2).is_file():
        checkpoint = read_ctranslate2(path)
    else:
        raise CheckpointError("there is no checkpoint")
    checkpoint.check()
    return checkpoint
