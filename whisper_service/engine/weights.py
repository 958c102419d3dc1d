"""A checkpoint's matrices in the form the decode loop multiplies with: made once, then only read.

Projections of the same input are fused (query, key and value; the cross keys and values of all
layers), everything is contiguous and in the compute dtype. openai-whisper converts at every call
and keeps each matrix apart. Refuses to know what the matrices are multiplied with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whisper.model import ResidualAttentionBlock, Whisper

Linear = Callable[[Tensor], Tensor]
"""x [..., n_in] -> [..., n_out], in the dtype of x."""

_ROWS_HINT = 1500
"""Rows oneDNN expects when it lays out a matrix. It chose the same for 1, 8 and 1,500."""


@dataclass(frozen=True, slots=True)
class Dense:
    """A projection as torch does it."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Packed:
    """A bfloat16 projection in oneDNN's own layout.

    `F.linear` lays the matrix out anew at every call: the vocabulary's 40 MB (tiny) took 8.1 ms at
    8 rows on one Zen 4 core, packed 2.8 ms.
    """

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return y


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer norm in float32, whatever the compute dtype: as openai-whisper."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Cross:
    """The cross-attention of a decoder block, but for its keys and values."""

    norm: Norm
    query: Linear
    out: Linear


@dataclass(frozen=True, slots=True)
class Block:
    """One residual block. `cross` is None in the encoder."""

    norm: Norm
    qkv: Linear
    out: Linear
    cross: Cross | None
    mlp_norm: Norm
    mlp_in: Linear
    mlp_out: Linear


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    conv1: tuple[Tensor, Tensor]
    conv2: tuple[Tensor, Tensor]
    positions: Tensor
    """float32 [1500, n_state]."""
    blocks: tuple[Block, ...]
    norm: Norm
    n_heads: int


@dataclass(frozen=True, slots=True)
class DecoderWeights:
    embedding: Tensor
    """[V, n_state] in the compute dtype: looked up by token."""
    positions: Tensor
    """float32 [n_ctx, n_state]."""
    blocks: tuple[Block, ...]
    norm: Norm
    cross_key_value: Linear
    """features [..., n_state] -> [..., n_layers * 2 * n_state], keys first in each layer."""
    vocabulary: Linear
    """[..., n_state] -> logits [..., V]."""
    n_heads: int
    n_vocab: int


def encoder_weights(model: Whisper, dtype: torch.dtype) -> EncoderWeights:
    """Prepare the encoder of `model`."""
    encoder = model.encoder
    return EncoderWeights(
        conv1=(_as(encoder.conv1.weight, dtype), _as(encoder.conv1.bias, dtype)),
        conv2=(_as(encoder.conv2.weight, dtype), _as(encoder.conv2.bias, dtype)),
        positions=_as(encoder.positional_embedding, torch.float32),
        blocks=tuple(_block(block, dtype) for block in encoder.blocks),
        norm=_norm(encoder.ln_post),
        n_heads=model.dims.n_audio_head,
    )


def decoder_weights(model: Whisper, dtype: torch.dtype) -> DecoderWeights:
    """Prepare the decoder of `model`. The vocabulary is the transposed embedding."""
    decoder = model.decoder
    crosses = [block.cross_attn for block in decoder.blocks]
    key_values = [linear for cross in crosses for linear in (cross.key, cross.value)]
    embedding = _as(decoder.token_embedding.weight, dtype)
    return DecoderWeights(
        embedding=embedding,
        positions=_as(decoder.positional_embedding, torch.float32),
        blocks=tuple(_block(block, dtype) for block in decoder.blocks),
        norm=_norm(decoder.ln),
        cross_key_value=_fused(key_values, dtype),
        vocabulary=_linear(embedding, None),
        n_heads=model.dims.n_text_head,
        n_vocab=model.dims.n_vocab,
    )


def _block(block: ResidualAttentionBlock, dtype: torch.dtype) -> Block:
    attn, mlp = block.attn, block.mlp
    return Block(
        norm=_norm(block.attn_ln),
        qkv=_fused([attn.query, attn.key, attn.value], dtype),
        out=_fused([attn.out], dtype),
        cross=_cross(block, dtype) if block.cross_attn else None,
        mlp_norm=_norm(block.mlp_ln),
        mlp_in=_fused([mlp[0]], dtype),
        mlp_out=_fused([mlp[2]], dtype),
    )


def _cross(block: ResidualAttentionBlock, dtype: torch.dtype) -> Cross:
    attn = block.cross_attn
    return Cross(
        norm=_norm(block.cross_attn_ln),
        query=_fused([attn.query], dtype),
        out=_fused([attn.out], dtype),
    )


def _fused(linears: Sequence[nn.Linear], dtype: torch.dtype) -> Linear:
    """Several projections of one input as one; a missing bias (Whisper's keys) is zero."""
    weight = torch.cat([_as(linear.weight, dtype) for linear in linears])
    biases = [
        torch.zeros(linear.out_features, dtype=dtype, device=weight.device)
        if linear.bias is None
        else _as(linear.bias, dtype)
        for linear in linears
    ]
    return _linear(weight, torch.cat(biases))


def _linear(weight: Tensor, bias: Tensor | None) -> Linear:
    if weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and has_fast_bfloat16():
        return Packed(torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_HINT), bias)
    return Dense(weight, bias)


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself (AVX512_BF16, AMX), so that it pays."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _norm(norm: nn.LayerNorm) -> Norm:
    return Norm(_as(norm.weight, torch.float32), _as(norm.bias, torch.float32))


def _as(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.detach().to(dtype).contiguous()
