"""A folder in CTranslate2's format, which faster-whisper uses: `model.bin` and `config.json`.

`model.bin`, version 6, little-endian: version, name of the specification, its revision, number of
tensors; for each its name, rank, sizes, type, bytes; then aliases (ctranslate2/specs/model_spec.py,
`_serialize`). Only float16 and float32 are served: 8-bit numbers are not OpenAI's any more.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor
from whisper.model import ModelDimensions

from whisper_service.engine.checkpoints.checkpoint import Checkpoint, CheckpointError, Tensors
from whisper_service.engine.checkpoints.huggingface import read_heads
from whisper_service.models.weight_files import CTRANSLATE2, read_config

_VERSION, _SPEC = 6, "WhisperSpec"
_MAX_TENSORS, _MAX_RANK = 10_000, 4
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_ctranslate2(path: Path) -> Checkpoint:
    """Read a folder of CTranslate2. Raises `CheckpointError`."""
    file = path / CTRANSLATE2
    try:
        with file.open("rb") as source:
            variables = _Reader(source, file.stat().st_size).variables()
    except (OSError, struct.error, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file} cannot be read ({error})") from error
    return _Converter(variables).checkpoint(read_heads(read_config(path)))


@dataclass
class _Reader:
    """Reads within the file's size, whatever the file says of itself."""

    source: BinaryIO
    n_bytes: int

    def variables(self) -> dict[str, Tensor]:
        """Every tensor, by CTranslate2's names."""
        version = self._number("I")
        spec = self._text() if version == _VERSION else ""
        if spec != _SPEC:
            raise CheckpointError(
                f"it is not a Whisper in CTranslate2's format {_VERSION}"
                f" (version {version}, {spec or 'another format'!r})"
            )
        self._number("I")  # revision of the specification: names say what there is
        count = self._number("I")
        if count > _MAX_TENSORS:
            raise CheckpointError(f"it says that it holds {count} tensors")
        return dict(self._variable() for _ in range(count))

    def _variable(self) -> tuple[str, Tensor]:
        name, rank = self._text(), self._number("B")
        if rank > _MAX_RANK:
            raise CheckpointError(f"{name[:100]} has {rank} dimensions")
        shape = [self._number("I") for _ in range(rank)]
        kind, n_bytes = self._number("B"), self._number("I")
        dtype = _DTYPES.get(kind)
        if dtype is None:
            raise CheckpointError(f"{name[:100]} is of type {kind}; float16 and float32 are served")
        size = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
        if size != n_bytes or n_bytes > self.n_bytes - self.source.tell():
            raise CheckpointError(f"{name[:100]} is {shape} in {n_bytes} bytes, which cannot be")
        # bytearray: torch warns of memory that it may not write
        numbers = np.frombuffer(bytearray(self.source.read(n_bytes)), dtype).reshape(shape)
        return name, torch.from_numpy(numbers)

    def _text(self) -> str:
        return self._take(self._number("H")).rstrip(b"\0").decode()

    def _number(self, kind: str) -> int:
        return int(struct.unpack(f"<{kind}", self._take(struct.calcsize(kind)))[0])

    def _take(self, n_bytes: int) -> bytes:
        taken = self.source.read(n_bytes)
        if len(taken) < n_bytes:
            raise CheckpointError("it breaks off")
        return taken


class _Converter:
    """CTranslate2's names and fused matrices into openai-whisper's."""

    def __init__(self, variables: Mapping[str, Tensor]) -> None:
        self._variables = variables
        self._tensors: Tensors = {}

    def checkpoint(self, heads: tuple[tuple[int, int], ...] | None) -> Checkpoint:
        n_layers = {side: self._n_layers(side) for side in ("encoder", "decoder")}
        for convolution in ("encoder.conv1", "encoder.conv2"):
            self._linear(convolution, convolution.replace(".", "/"))
        self._copy("encoder.positional_embedding", "encoder/position_encodings/encodings")
        self._copy("decoder.positional_embedding", "decoder/position_encodings/encodings")
        self._copy("decoder.token_embedding.weight", "decoder/embeddings/weight")
        self._norm("encoder.ln_post", "encoder/layer_norm")
        self._norm("decoder.ln", "decoder/layer_norm")
        for side, count in n_layers.items():
            for layer in range(count):
                self._block(f"{side}.blocks.{layer}", f"{side}/layer_{layer}")
        return Checkpoint(self._dims(n_layers), self._tensors, heads)

    def _dims(self, n_layers: Mapping[str, int]) -> ModelDimensions:
        def size(name: str, axis: int) -> int:
            shape = self._tensors[name].shape
            return int(shape[axis]) if axis < len(shape) else 0

        return ModelDimensions(
            n_mels=size("encoder.conv1.weight", 1),
            n_audio_ctx=size("encoder.positional_embedding", 0),
            n_audio_state=size("encoder.conv1.weight", 0),
            n_audio_head=self._n_heads("encoder"),
            n_audio_layer=n_layers["encoder"],
            n_vocab=size("decoder.token_embedding.weight", 0),
            n_text_ctx=size("decoder.positional_embedding", 0),
            n_text_state=size("decoder.token_embedding.weight", 1),
            n_text_head=self._n_heads("decoder"),
            n_text_layer=n_layers["decoder"],
        )

    def _n_layers(self, side: str) -> int:
        layers = {
            name.split("/")[1] for name in self._variables if name.startswith(f"{side}/layer_")
        }
        return len(layers - {"layer_norm"})

    def _n_heads(self, side: str) -> int:
        heads = self._get(f"{side}/num_heads")
        return int(heads) if heads.ndim == 0 else 0

    def _block(self, ours: str, theirs: str) -> None:
        attention = f"{theirs}/self_attention"
        self._norm(f"{ours}.attn_ln", f"{attention}/layer_norm")
        self._split(f"{ours}.attn", f"{attention}/linear_0", ("query", "key", "value"))
        self._linear(f"{ours}.attn.out", f"{attention}/linear_1")
        if ours.startswith("decoder"):
            cross = f"{theirs}/attention"
            self._norm(f"{ours}.cross_attn_ln", f"{cross}/layer_norm")
            self._linear(f"{ours}.cross_attn.query", f"{cross}/linear_0")
            self._split(f"{ours}.cross_attn", f"{cross}/linear_1", ("key", "value"))
            self._linear(f"{ours}.cross_attn.out", f"{cross}/linear_2")
        self._norm(f"{ours}.mlp_ln", f"{theirs}/ffn/layer_norm")
        self._linear(f"{ours}.mlp.0", f"{theirs}/ffn/linear_0")
        self._linear(f"{ours}.mlp.2", f"{theirs}/ffn/linear_1")

    def _split(self, ours: str, theirs: str, parts: tuple[str, ...]) -> None:
        """Projections of one input are one matrix there; Whisper's keys have no bias."""
        fused, bias_of_all = self._get(f"{theirs}/weight"), self._get(f"{theirs}/bias")
        if fused.ndim != 2 or bias_of_all.ndim != 1 or len(bias_of_all) % len(parts):
            raise CheckpointError(f"{theirs} does not hold {', '.join(parts)}")
        weights, biases = fused.chunk(len(parts)), bias_of_all.chunk(len(parts))
        if len(weights) != len(parts):
            raise CheckpointError(f"{theirs} does not hold {', '.join(parts)}")
        for part, weight, bias in zip(parts, weights, biases, strict=True):
            self._tensors[f"{ours}.{part}.weight"] = weight
            if part != "key":
                self._tensors[f"{ours}.{part}.bias"] = bias
            elif bias.any():
                raise CheckpointError(f"{theirs} has a bias for its keys, which Whisper has not")

    def _linear(self, ours: str, theirs: str) -> None:
        self._copy(f"{ours}.weight", f"{theirs}/weight")
        self._copy(f"{ours}.bias", f"{theirs}/bias")

    def _norm(self, ours: str, theirs: str) -> None:
        self._copy(f"{ours}.weight", f"{theirs}/gamma")
        self._copy(f"{ours}.bias", f"{theirs}/beta")

    def _copy(self, ours: str, theirs: str) -> None:
        self._tensors[ours] = self._get(theirs)

    def _get(self, name: str) -> Tensor:
        try:
            return self._variables[name]
        except KeyError:
            raise CheckpointError(f"it lacks {name}") from None
