"""What every format is read into, and the check that it is a Whisper of known shape.

A file comes from anywhere. Nothing is allocated by what it says of itself before the shapes of
the tensors that are really there have been held against it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from whisper.model import ModelDimensions

Tensors = dict[str, Tensor]

N_AUDIO_CTX = 1500
"""Positions of the encoder: 30 s, 20 ms each. All Whispers have them."""
_MELS = (80, 128)
_VOCABULARIES = (51864, 51865, 51866)
"""English only, multilingual, and with Cantonese: what openai-whisper has tokenizers for."""
_MAX_STATE, _MAX_LAYERS, _MAX_TEXT_CTX = 4096, 64, 1024
"""Far above the largest model there is (1280, 32, 448)."""
_DTYPES = (torch.float16, torch.float32, torch.bfloat16)


class CheckpointError(ValueError):
    """A file is no checkpoint that can be served; the message says why."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model's sizes and tensors under openai-whisper's names."""

    dims: ModelDimensions
    tensors: Tensors
    alignment_heads: tuple[tuple[int, int], ...] | None = None
    """(layer, head) of the decoder's cross-attentions that follow the audio; None where the
    format does not say."""

    def check(self) -> None:
        """Raise `CheckpointError` unless sizes, names, types and shapes are a Whisper's."""
        _check_dims(self.dims)
        _check_tensors(self.tensors, expected_shapes(self.dims))
        for layer, head in self.alignment_heads or ():
            if not (0 <= layer < self.dims.n_text_layer and 0 <= head < self.dims.n_text_head):
                raise CheckpointError(
                    f"alignment head ({layer}, {head}) is outside its {self.dims.n_text_layer}"
                    f" layers of {self.dims.n_text_head} heads"
                )

    def digest(self) -> str:
        """SHA-256 over the numbers, whatever file they came in.

        For each tensor, in the order of names: its name, its shape, and its bytes as float16.
        Numbers that float16 does not hold make a digest that no published model has.
        """
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            tensor = self.tensors[name]
            half = tensor.half().contiguous()
            if tensor.dtype != torch.float16 and not torch.equal(half.to(tensor.dtype), tensor):
                digest.update(b"more precise than float16")
            digest.update(f"{name} {list(tensor.shape)}\n".encode())
            digest.update(half.view(torch.uint8).numpy().data)
        return digest.hexdigest()


def expected_shapes(dims: ModelDimensions) -> dict[str, tuple[int, ...]]:
    """The tensors of a Whisper of these sizes, as whisper/model.py names them."""
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.conv1.weight": (dims.n_audio_state, dims.n_mels, 3),
        "encoder.conv1.bias": (dims.n_audio_state,),
        "encoder.conv2.weight": (dims.n_audio_state, dims.n_audio_state, 3),
        "encoder.conv2.bias": (dims.n_audio_state,),
        "encoder.positional_embedding": (dims.n_audio_ctx, dims.n_audio_state),
        "decoder.token_embedding.weight": (dims.n_vocab, dims.n_text_state),
        "decoder.positional_embedding": (dims.n_text_ctx, dims.n_text_state),
        **_norm("encoder.ln_post", dims.n_audio_state),
        **_norm("decoder.ln", dims.n_text_state),
    }
    for layer in range(dims.n_audio_layer):
        shapes |= _block(f"encoder.blocks.{layer}", dims.n_audio_state, has_cross=False)
    for layer in range(dims.n_text_layer):
        shapes |= _block(f"decoder.blocks.{layer}", dims.n_text_state, has_cross=True)
    return shapes


def _block(prefix: str, state: int, *, has_cross: bool) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        f"{prefix}.mlp.0.weight": (4 * state, state),
        f"{prefix}.mlp.0.bias": (4 * state,),
        f"{prefix}.mlp.2.weight": (state, 4 * state),
        f"{prefix}.mlp.2.bias": (state,),
        **_norm(f"{prefix}.mlp_ln", state),
    }
    for attention in ("attn", "cross_attn") if has_cross else ("attn",):
        shapes |= _norm(f"{prefix}.{attention}_ln", state)
        for part in ("query", "key", "value", "out"):
            shapes[f"{prefix}.{attention}.{part}.weight"] = (state, state)
            if part != "key":
                shapes[f"{prefix}.{attention}.{part}.bias"] = (state,)
    return shapes


def _norm(prefix: str, state: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.weight": (state,), f"{prefix}.bias": (state,)}


def _check_dims(dims: ModelDimensions) -> None:
    for name, value in vars(dims).items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise CheckpointError(f"its {name} is {value!r}, which is no size")
    if dims.n_vocab not in _VOCABULARIES:
        raise CheckpointError(
            f"its vocabulary has {dims.n_vocab} tokens; Whisper's have"
            f" {', '.join(map(str, _VOCABULARIES))}"
        )
    if dims.n_mels not in _MELS:
        raise CheckpointError(f"it takes {dims.n_mels} mel bins; Whisper takes 80 or 128")
    if dims.n_audio_ctx != N_AUDIO_CTX:
        raise CheckpointError(f"it hears {dims.n_audio_ctx} frames, not {N_AUDIO_CTX}")
    if dims.n_audio_state != dims.n_text_state:
        raise CheckpointError("its encoder and its decoder are not of one width")
    sizes = (
        (dims.n_text_state, _MAX_STATE),
        (max(dims.n_audio_layer, dims.n_text_layer), _MAX_LAYERS),
        (dims.n_text_ctx, _MAX_TEXT_CTX),
    )
    for size, most in sizes:
        if size > most:
            raise CheckpointError(f"its sizes are larger than any Whisper's: {vars(dims)}")
    for n_heads in (dims.n_audio_head, dims.n_text_head):
        if dims.n_text_state % n_heads:
            raise CheckpointError(f"{n_heads} heads do not divide its width, {dims.n_text_state}")


def _check_tensors(tensors: Mapping[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> None:
    if missing := sorted(shapes.keys() - tensors.keys()):
        raise CheckpointError(f"it lacks {_some(missing)}")
    if unknown := sorted(tensors.keys() - shapes.keys()):
        raise CheckpointError(f"it holds {_some(unknown)}, which Whisper has not")
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tuple(tensor.shape) != shape:
            raise CheckpointError(f"{name} is {list(tensor.shape)}, not {list(shape)}")
        if tensor.dtype not in _DTYPES:
            dtype = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(f"{name} is {dtype}; float16, bfloat16 and float32 are served")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(name[:100] for name in names[:3]) + more
