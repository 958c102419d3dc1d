"""Writes an openai-whisper checkpoint as faster-whisper reads it: the same tensors, CTranslate2's
format, with a tokenizer.json, so that nothing is downloaded."""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import whisper
from ctranslate2.specs import common_spec, whisper_spec
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from torch import nn
from whisper.model import MultiHeadAttention, Whisper
from whisper.tokenizer import Tokenizer, get_tokenizer


def converted(checkpoint: Path, folder: Path) -> Path:
    """`folder`, with `checkpoint` converted into it unless it is there and no older."""
    done = folder / "preprocessor_config.json"  # the last that is written
    if not done.is_file() or done.stat().st_mtime < checkpoint.stat().st_mtime:
        convert(checkpoint, folder)
    return folder


def convert(checkpoint: Path, folder: Path) -> None:
    """Write `checkpoint` into `folder`, in float32; CTranslate2 makes int8 of it as it loads."""
    model = whisper.load_model(str(checkpoint), device="cpu").float()
    tokens = _tokens(model)
    spec = _spec(model)
    spec.register_vocabulary(tokens)
    tokenizer = _vocabulary(model)
    spec.config.suppress_ids = []
    # what openai-whisper's suppress_blank forbids; CTranslate2 takes it from here
    spec.config.suppress_ids_begin = [*tokenizer.encode(" "), tokenizer.eot]
    spec.config.alignment_heads = model.alignment_heads.indices().T.tolist()
    spec.config.lang_ids = list(tokenizer.all_language_tokens)
    spec.validate()
    spec.optimize(quantization=None)
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    _tokenizer(model, tokens).save(str(folder / "tokenizer.json"))
    features = {"feature_size": model.dims.n_mels}
    (folder / "preprocessor_config.json").write_text(json.dumps(features))


def _spec(model: Whisper) -> whisper_spec.WhisperSpec:
    dims = model.dims
    spec = whisper_spec.WhisperSpec(
        dims.n_audio_layer, dims.n_audio_head, dims.n_text_layer, dims.n_text_head
    )
    encoder, decoder = model.encoder, model.decoder
    for name in ("conv1", "conv2"):
        _linear(getattr(spec.encoder, name), getattr(encoder, name))
    spec.encoder.position_encodings.encodings = _numpy(encoder.positional_embedding)
    spec.decoder.position_encodings.encodings = _numpy(decoder.positional_embedding)
    spec.decoder.embeddings.weight = _numpy(decoder.token_embedding.weight)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    _norm(spec.encoder.layer_norm, encoder.ln_post)
    _norm(spec.decoder.layer_norm, decoder.ln)
    for target, blocks in ((spec.encoder, encoder.blocks), (spec.decoder, decoder.blocks)):
        for layer, block in zip(target.layer, blocks, strict=True):
            _block(layer, block)
    return spec


def _block(layer: Any, block: Any) -> None:
    attn = block.attn
    _fused(layer.self_attention.linear[0], attn.query, attn.key, attn.value)
    _linear(layer.self_attention.linear[1], attn.out)
    _norm(layer.self_attention.layer_norm, block.attn_ln)
    if block.cross_attn is not None:
        cross: MultiHeadAttention = block.cross_attn
        _linear(layer.attention.linear[0], cross.query)
        _fused(layer.attention.linear[1], cross.key, cross.value)
        _linear(layer.attention.linear[2], cross.out)
        _norm(layer.attention.layer_norm, block.cross_attn_ln)
    _linear(layer.ffn.linear_0, block.mlp[0])
    _linear(layer.ffn.linear_1, block.mlp[2])
    _norm(layer.ffn.layer_norm, block.mlp_ln)


def _linear(target: common_spec.LinearSpec, layer: nn.Module) -> None:
    target.weight = _numpy(layer.weight)
    target.bias = _numpy(layer.bias)


def _fused(target: common_spec.LinearSpec, *linears: nn.Linear) -> None:
    target.weight = np.concatenate([_numpy(linear.weight) for linear in linears])
    biases = [
        np.zeros(linear.out_features, np.float32) if linear.bias is None else _numpy(linear.bias)
        for linear in linears
    ]
    target.bias = np.concatenate(biases)


def _norm(target: common_spec.LayerNormSpec, norm: nn.LayerNorm) -> None:
    target.gamma = _numpy(norm.weight)
    target.beta = _numpy(norm.bias)


def _numpy(x: Any) -> np.ndarray[Any, Any]:
    assert isinstance(x, torch.Tensor)
    return x.detach().float().contiguous().numpy()


def _vocabulary(model: Whisper) -> Tokenizer:
    return get_tokenizer(model.is_multilingual, num_languages=model.num_languages)


def _tokens(model: Whisper) -> list[str]:
    """The vocabulary in CTranslate2's spelling: bytes as GPT-2 writes them, then the specials."""
    encoding = _vocabulary(model).encoding
    letters = _letters()
    ranks: Mapping[bytes, int] = encoding._mergeable_ranks
    plain = ["".join(letters[byte] for byte in token) for token in _by_number(ranks)]
    specials: Mapping[str, int] = encoding._special_tokens
    return plain + _by_number(specials)


def _tokenizer(model: Whisper, tokens: list[str]) -> tokenizers.Tokenizer:
    encoding = _vocabulary(model).encoding
    ranks: dict[bytes, int] = encoding._mergeable_ranks
    letters = _letters()

    def spelt(part: bytes) -> str:
        return "".join(letters[byte] for byte in part)

    pairs = [_parts(ranks, token) for token in _by_number(ranks) if len(token) > 1]
    merges = [(spelt(first), spelt(second)) for first, second in pairs]
    vocabulary = {token: number for number, token in enumerate(tokens[: len(ranks)])}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in tokens[len(ranks) :]])
    return tokenizer


def _by_number(numbers: Mapping[Any, int]) -> list[Any]:
    return sorted(numbers, key=lambda token: numbers[token])


def _parts(ranks: Mapping[bytes, int], token: bytes) -> list[bytes]:
    """The two tokens that `token` was merged from."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = [ranks.get(a + b, len(ranks)) for a, b in pairwise(parts)]
        i = pairs.index(min(pairs))
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


def _letters() -> dict[int, str]:
    """GPT-2's way to write any byte as a printable character."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in kept]
    return {byte: chr(byte) for byte in kept} | {b: chr(256 + i) for i, b in enumerate(rest)}
