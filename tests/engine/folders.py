"""Small checkpoints in the three formats, from one random Whisper; and how each is written."""

import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from whisper.model import ModelDimensions, Whisper

Tensors = dict[str, Tensor]

DIMS = ModelDimensions(80, 1500, 64, 1, 2, 51865, 448, 64, 1, 2)
_PARTS = {
    "encoder.ln_post": "encoder.layer_norm",
    "decoder.ln.": "decoder.layer_norm.",
    "token_embedding": "embed_tokens",
    "positional_embedding": "embed_positions.weight",
    "cross_attn_ln": "encoder_attn_layer_norm",
    "attn_ln": "self_attn_layer_norm",
    "mlp_ln": "final_layer_norm",
    "cross_attn": "encoder_attn",
    ".attn.": ".self_attn.",
    ".query": ".q_proj",
    ".key": ".k_proj",
    ".value": ".v_proj",
    ".out.": ".out_proj.",
    "mlp.0": "fc1",
    "mlp.2": "fc2",
    "blocks": "layers",
}
"""openai-whisper's names and transformers', in an order in which none spoils a later one."""


def random_tensors(dims: ModelDimensions = DIMS) -> Tensors:
    torch.manual_seed(0)
    tensors = {name: tensor.half() for name, tensor in Whisper(dims).state_dict().items()}
    positions = "decoder.positional_embedding"  # which openai-whisper leaves as memory was
    return tensors | {positions: torch.randn_like(tensors[positions])}


def write_openai(path: Path, tensors: Tensors, dims: ModelDimensions = DIMS) -> None:
    torch.save({"dims": vars(dims), "model_state_dict": tensors}, path)


def huggingface_name(name: str) -> str:
    for ours, theirs in _PARTS.items():
        name = name.replace(ours, theirs)
    return f"model.{name}"


def huggingface_config(dims: ModelDimensions = DIMS) -> dict[str, Any]:
    return {
        "num_mel_bins": dims.n_mels,
        "max_source_positions": dims.n_audio_ctx,
        "d_model": dims.n_audio_state,
        "encoder_attention_heads": dims.n_audio_head,
        "encoder_layers": dims.n_audio_layer,
        "vocab_size": dims.n_vocab,
        "max_target_positions": dims.n_text_ctx,
        "decoder_attention_heads": dims.n_text_head,
        "decoder_layers": dims.n_text_layer,
    }


def write_huggingface(
    folder: Path,
    tensors: Tensors,
    dims: ModelDimensions = DIMS,
    *,
    heads: list[list[int]] | None = None,
    n_files: int = 1,
    **config: Any,
) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(huggingface_config(dims) | config))
    (folder / "generation_config.json").write_text(json.dumps({"alignment_heads": heads}))
    renamed = {huggingface_name(name): tensor.contiguous() for name, tensor in tensors.items()}
    if n_files == 1:
        save_file(renamed, folder / "model.safetensors")
        return
    weight_map: dict[str, str] = {}
    for number in range(n_files):
        file = f"model-{number + 1:05}-of-{n_files:05}.safetensors"
        part = {name: renamed[name] for name in list(renamed)[number::n_files]}
        save_file(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def write_ctranslate2(
    folder: Path,
    tensors: Tensors,
    dims: ModelDimensions = DIMS,
    *,
    heads: list[list[int]] | None = None,
) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"alignment_heads": heads}))
    arrays = ctranslate2_arrays(tensors, dims)
    (folder / "model.bin").write_bytes(ctranslate2_bytes(arrays))


def ctranslate2_arrays(tensors: Tensors, dims: ModelDimensions = DIMS) -> dict[str, np.ndarray]:
    """By CTranslate2's names, projections of one input joined."""
    arrays = {
        "encoder/num_heads": np.array(dims.n_audio_head, np.int16),
        "decoder/num_heads": np.array(dims.n_text_head, np.int16),
    }
    for name, tensor in tensors.items():
        if re.search(r"\.(query|key|value)\.", name) and not re.search("cross_attn.query", name):
            continue
        arrays[_ctranslate2_name(name)] = tensor.numpy()
    for side, n_layers in (("encoder", dims.n_audio_layer), ("decoder", dims.n_text_layer)):
        for layer in range(n_layers):
            ours, theirs = f"{side}.blocks.{layer}", f"{side}/layer_{layer}"
            parts = [f"{ours}.attn.{part}" for part in ("query", "key", "value")]
            arrays |= _joined(tensors, parts, f"{theirs}/self_attention/linear_0")
            if side == "decoder":
                parts = [f"{ours}.cross_attn.{part}" for part in ("key", "value")]
                arrays |= _joined(tensors, parts, f"{theirs}/attention/linear_1")
    return arrays


def _joined(tensors: Tensors, parts: list[str], name: str) -> dict[str, np.ndarray]:
    weights = [tensors[f"{part}.weight"] for part in parts]
    no_bias = torch.zeros(len(weights[0]), dtype=weights[0].dtype)
    biases = [tensors.get(f"{part}.bias", no_bias) for part in parts]
    return {
        f"{name}/weight": torch.cat(weights).numpy(),
        f"{name}/bias": torch.cat(biases).numpy(),
    }


def _ctranslate2_name(name: str) -> str:
    for pattern, theirs in (
        (r"(encoder|decoder)\.(ln_post|ln)\.", r"\1/layer_norm/"),
        (r"blocks\.(\d+)\.attn_ln\.", r"layer_\1/self_attention/layer_norm/"),
        (r"blocks\.(\d+)\.cross_attn_ln\.", r"layer_\1/attention/layer_norm/"),
        (r"blocks\.(\d+)\.mlp_ln\.", r"layer_\1/ffn/layer_norm/"),
        (r"blocks\.(\d+)\.attn\.out\.", r"layer_\1/self_attention/linear_1/"),
        (r"blocks\.(\d+)\.cross_attn\.query\.", r"layer_\1/attention/linear_0/"),
        (r"blocks\.(\d+)\.cross_attn\.out\.", r"layer_\1/attention/linear_2/"),
        (r"blocks\.(\d+)\.mlp\.0\.", r"layer_\1/ffn/linear_0/"),
        (r"blocks\.(\d+)\.mlp\.2\.", r"layer_\1/ffn/linear_1/"),
        (r"positional_embedding", "position_encodings/encodings"),
        (r"token_embedding", "embeddings"),
    ):
        name = re.sub(pattern, theirs, name)
    if "norm" in name:
        name = name.replace("/weight", "/gamma").replace("/bias", "/beta")
    return name.replace(".", "/")


def ctranslate2_bytes(
    arrays: dict[str, np.ndarray], *, version: int = 6, spec: str = "WhisperSpec"
) -> bytes:
    kinds = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    out = [struct.pack("<I", version), _text(spec), struct.pack("<II", 3, len(arrays))]
    for name, array in arrays.items():
        out += [_text(name), struct.pack("<B", array.ndim)]
        out += [struct.pack("<I", size) for size in array.shape]
        out += [struct.pack("<BI", kinds[str(array.dtype)], array.nbytes), array.tobytes()]
    alias = _text("decoder/projection/weight") + _text("decoder/embeddings/weight")
    return b"".join((*out, struct.pack("<I", 1), alias))


def _text(text: str) -> bytes:
    encoded = text.encode() + b"\0"
    return struct.pack("<H", len(encoded)) + encoded
