"""Checkpoints of Whisper in the three formats they come in, made from one another for tests.

openai-whisper's is a dict of `dims` and `model_state_dict`; transformers' is a folder of
model.safetensors and configs; CTranslate2's a folder of model.bin (version 6) and a config.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
import whisper
from safetensors.torch import save_file
from torch import Tensor
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import get_tokenizer

State = dict[str, Tensor]

_BIN_VERSION, _BIN_REVISION = 6, 3
_BIN_SPEC = "WhisperSpec"
_BIN_FLAGS = {
    "decoder/activation": np.array(3, np.int8),  # GELU
    "decoder/alibi": np.array(0, np.int8),
    "decoder/alibi_use_positive_positions": np.array(0, np.int8),
    "decoder/alignment_heads": np.array(1, np.int16),
    "decoder/alignment_layer": np.array(-1, np.int16),
    "decoder/pre_norm": np.array(1, np.int8),
    "decoder/scale_alibi": np.array(0, np.int8),
    "decoder/scale_embeddings": np.array(0, np.int8),
    "decoder/start_from_zero_embedding": np.array(0, np.int8),
}
_BIN_TYPES: tuple[Any, ...] = (np.float32, np.int8, np.int16, np.int32, np.float16)


def as_whisper(path: Path) -> Whisper:
    """openai-whisper's model of a NAME.pt or of a CTranslate2 folder."""
    if path.is_file():
        return whisper.load_model(str(path), device="cpu")
    dims, state = read_ctranslate2(path)
    model = Whisper(dims)
    model.load_state_dict(state, strict=False)  # the mask is no weight
    return model


# --- transformers


def write_hugging_face(folder: Path, model: Whisper, dtype: torch.dtype = torch.float16) -> None:
    """Write a model as transformers' `save_pretrained` does."""
    folder.mkdir(parents=True)
    tensors = {
        _hugging_face_name(name): tensor.to(dtype).contiguous()
        for name, tensor in _weights(model).items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    dims = model.dims
    config = {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "num_mel_bins": dims.n_mels,
        "max_source_positions": dims.n_audio_ctx,
        "d_model": dims.n_audio_state,
        "encoder_attention_heads": dims.n_audio_head,
        "encoder_layers": dims.n_audio_layer,
        "encoder_ffn_dim": 4 * dims.n_audio_state,
        "vocab_size": dims.n_vocab,
        "max_target_positions": dims.n_text_ctx,
        "decoder_attention_heads": dims.n_text_head,
        "decoder_layers": dims.n_text_layer,
        "decoder_ffn_dim": 4 * dims.n_text_state,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }
    (folder / "config.json").write_text(json.dumps(config))
    generation = {"alignment_heads": alignment_heads(model), "is_multilingual": _knows_many(dims)}
    (folder / "generation_config.json").write_text(json.dumps(generation))


_HUGGING_FACE_NAMES = (
    (".blocks.", ".layers."),
    ("attn_ln.", "self_attn_layer_norm."),
    ("cross_self_attn_layer_norm.", "encoder_attn_layer_norm."),
    (".cross_attn.", ".encoder_attn."),
    (".attn.", ".self_attn."),
    ("attn.query.", "attn.q_proj."),
    ("attn.key.", "attn.k_proj."),
    ("attn.value.", "attn.v_proj."),
    ("attn.out.", "attn.out_proj."),
    (".mlp.0.", ".fc1."),
    (".mlp.2.", ".fc2."),
    (".mlp_ln.", ".final_layer_norm."),
    ("encoder.ln_post.", "encoder.layer_norm."),
    ("decoder.ln.", "decoder.layer_norm."),
    ("decoder.token_embedding.", "decoder.embed_tokens."),
    (".positional_embedding", ".embed_positions.weight"),
)


def _hugging_face_name(name: str) -> str:
    for ours, theirs in _HUGGING_FACE_NAMES:
        name = name.replace(ours, theirs)
    return f"model.{name}"


# --- CTranslate2


def write_ctranslate2(folder: Path, model: Whisper, dtype: Any = np.float16) -> None:
    """Write a model as CTranslate2's converter does with `--quantization float16`, or float32."""
    folder.mkdir(parents=True)
    variables = {**_BIN_FLAGS, **dict(_ctranslate2_variables(_weights(model), dtype))}
    variables |= {"encoder/num_heads": np.array(model.dims.n_audio_head, np.int16)}
    variables |= {"decoder/num_heads": np.array(model.dims.n_text_head, np.int16)}
    with (folder / "model.bin").open("wb") as file:
        file.write(struct.pack("<I", _BIN_VERSION))
        _write_string(file, _BIN_SPEC)
        file.write(struct.pack("<II", _BIN_REVISION, len(variables)))
        for name in sorted(variables):
            _write_variable(file, name, variables[name])
        file.write(struct.pack("<I", 1))
        _write_string(file, "decoder/projection/weight")
        _write_string(file, "decoder/embeddings/weight")
    config = {"alignment_heads": alignment_heads(model), **_token_ids(model)}
    (folder / "config.json").write_text(json.dumps(config))


def _ctranslate2_variables(state: State, dtype: Any) -> Iterator[tuple[str, Any]]:
    def array(tensor: Tensor) -> Any:
        return tensor.float().numpy().astype(dtype)

    def pair(target: str, source: str) -> Iterator[tuple[str, Any]]:
        yield f"{target}/weight", array(state[f"{source}.weight"])
        yield f"{target}/bias", array(state[f"{source}.bias"])

    def norm(target: str, source: str) -> Iterator[tuple[str, Any]]:
        yield f"{target}/gamma", array(state[f"{source}.weight"])
        yield f"{target}/beta", array(state[f"{source}.bias"])

    def fused(target: str, source: str, parts: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        weights = [state[f"{source}.{part}.weight"] for part in parts]
        biases = [
            state.get(f"{source}.{part}.bias", torch.zeros(len(weight)))
            for part, weight in zip(parts, weights, strict=True)
        ]
        yield f"{target}/weight", array(torch.cat(weights))
        yield f"{target}/bias", array(torch.cat([bias.float() for bias in biases]))

    for conv in ("conv1", "conv2"):
        yield from pair(f"encoder/{conv}", f"encoder.{conv}")
    yield from norm("encoder/layer_norm", "encoder.ln_post")
    yield from norm("decoder/layer_norm", "decoder.ln")
    yield "decoder/embeddings/weight", array(state["decoder.token_embedding.weight"])
    for side in ("encoder", "decoder"):
        positions = state[f"{side}.positional_embedding"]
        yield f"{side}/position_encodings/encodings", array(positions)
        for number in range(_n_layers(state, f"{side}.blocks.")):
            block, layer = f"{side}.blocks.{number}", f"{side}/layer_{number}"
            yield from norm(f"{layer}/self_attention/layer_norm", f"{block}.attn_ln")
            own = f"{layer}/self_attention"
            yield from fused(f"{own}/linear_0", f"{block}.attn", ("query", "key", "value"))
            yield from pair(f"{own}/linear_1", f"{block}.attn.out")
            if side == "decoder":
                cross = f"{layer}/attention"
                yield from norm(f"{cross}/layer_norm", f"{block}.cross_attn_ln")
                yield from pair(f"{cross}/linear_0", f"{block}.cross_attn.query")
                yield from fused(f"{cross}/linear_1", f"{block}.cross_attn", ("key", "value"))
                yield from pair(f"{cross}/linear_2", f"{block}.cross_attn.out")
            yield from norm(f"{layer}/ffn/layer_norm", f"{block}.mlp_ln")
            yield from pair(f"{layer}/ffn/linear_0", f"{block}.mlp.0")
            yield from pair(f"{layer}/ffn/linear_1", f"{block}.mlp.2")


def _write_string(file: BinaryIO, text: str) -> None:
    raw = text.encode() + b"\0"
    file.write(struct.pack("<H", len(raw)) + raw)


def _write_variable(file: BinaryIO, name: str, values: Any) -> None:
    _write_string(file, name)
    file.write(struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape))
    file.write(struct.pack("<BI", _BIN_TYPES.index(values.dtype.type), values.nbytes))
    file.write(values.tobytes())


def read_ctranslate2(folder: Path) -> tuple[ModelDimensions, State]:
    """The dimensions and tensors of a CTranslate2 folder, by openai-whisper's names."""
    variables = _read_variables(folder / "model.bin")
    state = dict(_openai_tensors(variables))
    n_mels, n_state = state["encoder.conv1.weight"].shape[1], state["encoder.conv1.bias"].shape[0]
    dims = ModelDimensions(
        n_mels=n_mels,
        n_audio_ctx=len(state["encoder.positional_embedding"]),
        n_audio_state=n_state,
        n_audio_head=n_state // 64,
        n_audio_layer=_n_layers(state, "encoder.blocks."),
        n_vocab=len(state["decoder.token_embedding.weight"]),
        n_text_ctx=len(state["decoder.positional_embedding"]),
        n_text_state=n_state,
        n_text_head=n_state // 64,
        n_text_layer=_n_layers(state, "decoder.blocks."),
    )
    return dims, state


def _read_variables(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:

        def number(form: str) -> int:
            return int(struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))[0])

        def string() -> str:
            return file.read(number("H")).rstrip(b"\0").decode()

        assert (number("I"), string(), number("I") > 0) == (_BIN_VERSION, _BIN_SPEC, True)
        variables = {}
        for _ in range(number("I")):
            name, rank = string(), number("B")
            shape = [number("I") for _ in range(rank)]
            kind, n_bytes = _BIN_TYPES[number("B")], number("I")
            variables[name] = np.frombuffer(file.read(n_bytes), kind).reshape(shape)
    return variables


def _openai_tensors(variables: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    norms = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}
    places = {
        "self_attention/layer_norm": "attn_ln",
        "self_attention/linear_1": "attn.out",
        "attention/layer_norm": "cross_attn_ln",
        "attention/linear_0": "cross_attn.query",
        "attention/linear_2": "cross_attn.out",
        "ffn/layer_norm": "mlp_ln",
        "ffn/linear_0": "mlp.0",
        "ffn/linear_1": "mlp.2",
    }
    fused = {
        "self_attention/linear_0": ("attn", ("query", "key", "value")),
        "attention/linear_1": ("cross_attn", ("key", "value")),
    }
    outside = {
        "encoder/conv1": "encoder.conv1",
        "encoder/conv2": "encoder.conv2",
        "encoder/layer_norm": "encoder.ln_post",
        "decoder/layer_norm": "decoder.ln",
        "decoder/embeddings": "decoder.token_embedding",
    }
    for name, values in variables.items():
        where, _, leaf = name.rpartition("/")
        side, _, rest = where.partition("/")
        layer, _, place = rest.partition("/")
        block = f"{side}.blocks.{layer.removeprefix('layer_')}"
        if leaf == "encodings":
            yield f"{side}.positional_embedding", _tensor(values)
        elif where in outside:
            yield f"{outside[where]}.{norms[leaf]}", _tensor(values)
        elif place in places:
            yield f"{block}.{places[place]}.{norms[leaf]}", _tensor(values)
        elif place in fused:
            attention, parts = fused[place]
            for part, piece in zip(parts, np.split(values, len(parts)), strict=True):
                if (part, leaf) != ("key", "bias"):  # openai-whisper's has none
                    yield f"{block}.{attention}.{part}.{leaf}", _tensor(piece)


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(values.copy())


# --- common


def alignment_heads(model: Whisper) -> list[list[int]]:
    """The heads that word times are read from, as pairs of layer and head."""
    return [list(pair) for pair in model.alignment_heads.to_dense().nonzero().tolist()]


def _weights(model: Whisper) -> State:
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.endswith(("mask", "alignment_heads"))
    }


def _n_layers(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in state if prefix in name})


def _knows_many(dims: ModelDimensions) -> bool:
    return dims.n_vocab >= 51865


def _token_ids(model: Whisper) -> dict[str, list[int]]:
    tokenizer = get_tokenizer(model.is_multilingual, num_languages=model.num_languages)
    special = [*tokenizer.non_speech_tokens, tokenizer.sot, tokenizer.transcribe]
    special += [tokenizer.translate, tokenizer.sot_lm, tokenizer.sot_prev, tokenizer.no_speech]
    return {
        "lang_ids": list(tokenizer.all_language_tokens),
        "suppress_ids": sorted(special),
        "suppress_ids_begin": [*tokenizer.encode(" "), tokenizer.eot],
    }
