"""A folder as transformers saves it: `config.json` and safetensors, with `generation_config.json`.

The names are those of transformers' `WhisperForConditionalGeneration`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from whisper.model import ModelDimensions

from whisper_service.engine.checkpoints.checkpoint import Checkpoint, CheckpointError
from whisper_service.models.weight_files import (
    GENERATION_CONFIG,
    SAFETENSORS,
    read_config,
    shard_names,
)

_SIZES = {
    "n_mels": "num_mel_bins",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
    "n_vocab": "vocab_size",
    "n_text_ctx": "max_target_positions",
    "n_text_state": "d_model",
    "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}
_PARTS = {
    "embed_positions.weight": "positional_embedding",
    "embed_tokens": "token_embedding",
    "self_attn_layer_norm": "attn_ln",
    "encoder_attn_layer_norm": "cross_attn_ln",
    "final_layer_norm": "mlp_ln",
    "self_attn": "attn",
    "encoder_attn": "cross_attn",
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "out_proj": "out",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
    "layers": "blocks",
}
_PART = re.compile("|".join(rf"(?<=\.){re.escape(part)}(?=\.|$)" for part in _PARTS))
_LAST_NORMS = {"encoder.layer_norm": "encoder.ln_post", "decoder.layer_norm": "decoder.ln"}
_OUTPUT = "proj_out.weight"
"""The output projection, which is the embedding in every Whisper."""
_EMBEDDING = "decoder.token_embedding.weight"


def read_huggingface(path: Path) -> Checkpoint:
    """Read a folder of transformers. Raises `CheckpointError`."""
    config = read_config(path)
    dims = ModelDimensions(**{ours: config.get(theirs) for ours, theirs in _SIZES.items()})
    tensors = {_our_name(name): tensor for name, tensor in _tensors(path)}
    output = tensors.pop(_OUTPUT, None)
    embedding = tensors.get(_EMBEDDING)
    if output is not None and embedding is not None and not torch.equal(output, embedding):
        raise CheckpointError(f"its {_OUTPUT} is not its embedding, which Whisper's is")
    return Checkpoint(dims, tensors, read_heads(_generation_config(path)))


def read_heads(config: Mapping[str, Any]) -> tuple[tuple[int, int], ...] | None:
    """The alignment heads of a config, None where it names none. Raises `CheckpointError`."""
    heads = config.get("alignment_heads")
    if not heads:
        return None
    try:
        return tuple((int(layer), int(head)) for layer, head in heads)
    except (TypeError, ValueError):
        raise CheckpointError(
            f"its alignment_heads are {str(heads)[:80]}, not pairs of layer and head"
        ) from None


def _tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of every file; safetensors checks offsets and sizes against the file."""
    shards = [SAFETENSORS] if (path / SAFETENSORS).is_file() else shard_names(path)
    for shard in shards:
        try:
            with safe_open(path / shard, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    yield name, file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path / shard} cannot be read ({error})") from error


def _our_name(name: str) -> str:
    name = name.removeprefix("model.")
    for theirs, ours in _LAST_NORMS.items():
        name = name.replace(theirs, ours) if name.startswith(f"{theirs}.") else name
    return _PART.sub(lambda match: _PARTS[match[0]], name)


def _generation_config(path: Path) -> Mapping[str, Any]:
    """Where transformers keeps the alignment heads; older folders have them in the config."""
    try:
        found = json.loads((path / GENERATION_CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        found = read_config(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / GENERATION_CONFIG} cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path / GENERATION_CONFIG} is no JSON object")
    return found
