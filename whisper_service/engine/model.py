"""From a model's name to its module on a device. Owns files, checksums and dtypes.

openai-whisper reads the checkpoint (`whisper.load_model`, `weights_only`: a file cannot run code).
A checkpoint that cannot be had or read is `ModelUnavailable`, never a crash.
"""

import hashlib
import logging
import pickle
from pathlib import Path
from typing import Literal

import torch
import whisper
from torch import nn
from whisper.model import Whisper

from whisper_service.engine import catalog, download

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]

_UNREADABLE = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError)
"""What torch.load and Whisper's constructor raise on a file that is not a checkpoint of theirs."""


def resolve_device(device: Device) -> torch.device:
    """`auto` is the GPU where torch sees one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def ensure_weights(
    name: str, model_dir: Path, *, can_download: bool, download_timeout: float
) -> Path:
    """Return the path of a model's weights, downloading them if need be.

    Raises `UnknownModel`, `ModelUnavailable`.
    """
    path = catalog.find_weights(name, model_dir, can_download=can_download)
    if not path.is_file():
        download.download(name, path, timeout=download_timeout)
    return path


def load_model(name: str, path: Path, device: torch.device, dtype: torch.dtype) -> Whisper:
    """Read the checkpoint at `path` as model `name`. Raises `ModelUnavailable`."""
    name = catalog.canonical_name(name)
    if catalog.is_official(name):
        _check_sha256(name, path)
    model = _read(name, path)
    if catalog.is_official(name):
        model.set_alignment_heads(whisper._ALIGNMENT_HEADS[name])
    _cast(model, dtype)
    return _move(name, path, model, device).eval()


def _check_sha256(name: str, path: Path) -> None:
    """Refuse another file under an official name; openai-whisper would overwrite it."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != download.official_sha256(name):
        reason = (
            f"{path} is damaged or another model (SHA-256 {sha256[:12]}…, the official file's is"
            f" {download.official_sha256(name)[:12]}…); a model of your own needs a name of its own"
        )
        raise catalog.unavailable(name, path, reason)


def _read(name: str, path: Path) -> Whisper:
    try:
        return whisper.load_model(str(path), device="cpu")
    except (*_UNREADABLE, OSError, pickle.UnpicklingError) as error:
        logger.warning("cannot read %s", path, exc_info=True)
        reason = f"{path} is not a checkpoint that openai-whisper can read"
        raise catalog.unavailable(name, path, reason) from error


def _cast(model: Whisper, dtype: torch.dtype) -> None:
    """Convert the big matrices in place; norms and positions stay float32.

    openai-whisper converts them at every use, to the same values; once takes half the memory. Not
    to bfloat16 the embedding, whose rounding costs words (`weights.decoder_weights`).
    """
    kinds = (nn.Linear, nn.Conv1d)
    for module in model.modules():
        if isinstance(module, kinds if dtype == torch.bfloat16 else (*kinds, nn.Embedding)):
            module.to(dtype)


def _move(name: str, path: Path, model: Whisper, device: torch.device) -> Whisper:
    if device.type == "cuda":
        torch.cuda.empty_cache()  # give back what an unloaded model has left
    try:
        return model.to(device)
    except torch.cuda.OutOfMemoryError as error:
        raise catalog.unavailable(name, path, "it does not fit into the GPU's memory") from error
