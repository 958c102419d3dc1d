"""openai-whisper's format: one file, `{"dims": ..., "model_state_dict": ...}`, pickled by torch."""

import pickle
from pathlib import Path

import torch
from torch import Tensor
from whisper.model import ModelDimensions

from whisper_service.engine.checkpoints.checkpoint import Checkpoint, CheckpointError

_UNREADABLE = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError, IndexError)
"""What torch.load raises on a file that is not one of its own."""


def read_openai(path: Path) -> Checkpoint:
    """Read a `.pt` file; `weights_only`: it cannot run code. Raises `CheckpointError`."""
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        dims, tensors = ModelDimensions(**loaded["dims"]), loaded["model_state_dict"]
    except (*_UNREADABLE, OSError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is not a checkpoint in openai-whisper's format") from error
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise CheckpointError(f"{path} is not a checkpoint in openai-whisper's format")
    return Checkpoint(dims, dict(tensors))
