"""From weights on disk to a module on a device. Owns the proof of identity, and dtypes.

A checkpoint that cannot be read, or is not what its name says, is `ModelUnavailable`, never a
crash.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import whisper
from torch import nn
from torch.overrides import TorchFunctionMode
from whisper.model import Whisper

from whisper_service.engine.checkpoints import Checkpoint, CheckpointError, read_checkpoint
from whisper_service.errors import ModelUnavailable
from whisper_service.models import names
from whisper_service.models.openai_host import SHA256
from whisper_service.models.weight_files import Weights

logger = logging.getLogger(__name__)

DIGESTS = {
    "base": "effe2cf54c7d66ed936899d4627ae0522208a37a540bdef779bfbacae49d9da8",
    "tiny.en": "5048fe8b15c2457e80de6597d9b6c62924f18de7529cf57124697638fe2c035e",
}
"""`Checkpoint.digest` of official models: their numbers are OpenAI's in whatever file they come."""


def load_model(name: str, weights: Weights, device: torch.device, dtype: torch.dtype) -> Whisper:
    """Read `weights` as model `name`. Raises `ModelUnavailable`."""
    name = names.canonical_name(name)
    try:
        checkpoint = read_checkpoint(weights.path)
    except CheckpointError as error:
        logger.warning("cannot read %s", weights.path, exc_info=True)
        raise _unusable(name, f"{weights.path} is not a Whisper that is served: {error}") from error
    if names.is_official(name) and not weights.is_vouched_for:
        _check_identity(name, weights.path, checkpoint)
    model = _build(name, checkpoint)
    _cast(model, dtype)
    return _move(name, model, device).eval()


def _check_identity(name: str, path: Path, checkpoint: Checkpoint) -> None:
    """Refuse another model under an official name: the published file's bytes, or its numbers."""
    if path.is_file():
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == SHA256[name]:
                return
    if name in DIGESTS and checkpoint.digest() == DIGESTS[name]:
        return
    raise _unusable(
        name,
        f"{path} is damaged or another model than OpenAI's {name} (that one's file has the SHA-256"
        f" {SHA256[name][:12]}…); a model of your own needs a name of its own",
    )


def _build(name: str, checkpoint: Checkpoint) -> Whisper:
    with _Uninitialised():  # every parameter is overwritten; random numbers for large take 20 s
        model = Whisper(checkpoint.dims)
    model.load_state_dict(checkpoint.tensors)
    if checkpoint.alignment_heads is not None:
        _set_alignment_heads(model, checkpoint.alignment_heads)
    elif names.is_official(name):
        model.set_alignment_heads(whisper._ALIGNMENT_HEADS[name])
    return model


class _Uninitialised(TorchFunctionMode):
    """Skips torch.nn.init."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return func(*args, **(kwargs or {}))


def _set_alignment_heads(model: Whisper, heads: Sequence[tuple[int, int]]) -> None:
    """As `Whisper.set_alignment_heads`, which takes a packed mask."""
    mask = torch.zeros(model.dims.n_text_layer, model.dims.n_text_head, dtype=torch.bool)
    for layer, head in heads:
        mask[layer, head] = True
    model.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)


def _cast(model: Whisper, dtype: torch.dtype) -> None:
    """Convert the big matrices in place; norms and positions stay float32.

    openai-whisper converts them at every use, to the same values; once takes half the memory. Not
    to bfloat16 the embedding, whose rounding costs words (`weights.decoder_weights`).
    """
    kinds = (nn.Linear, nn.Conv1d)
    for module in model.modules():
        if isinstance(module, kinds if dtype == torch.bfloat16 else (*kinds, nn.Embedding)):
            module.to(dtype)


def _move(name: str, model: Whisper, device: torch.device) -> Whisper:
    if device.type == "cuda":
        torch.cuda.empty_cache()  # give back what an unloaded model has left
    try:
        return model.to(device)
    except torch.cuda.OutOfMemoryError as error:
        raise _unusable(name, "it does not fit into the GPU's memory") from error


def _unusable(name: str, reason: str) -> ModelUnavailable:
    return ModelUnavailable(f"Model {name!r} is not available: {reason}.", model=name)
