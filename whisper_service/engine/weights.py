"""A checkpoint's matrices in the form the decode loop multiplies with: made once, then only read.

Projections of the same input are fused (query, key and value; the cross keys and values of all
layers), everything is contiguous and in the compute dtype. openai-whisper converts at every call
and keeps each matrix apart. Refuses to know what the matrices are multiplied with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whisper.model import ResidualAttentionBlock, Whisper

from whisper_service.engine.cpu import (
    beats_torch,
    float16_linear,
    has_avx512,
    has_fast_bfloat16,
    int8_linear,
    lossless_half,
    smoothing_factors,
)
from whisper_service.engine.precision import Precision
from whisper_service.engine.vocabulary import Vocabulary

Linear = Callable[[Tensor], Tensor]
"""x [..., n_in] -> [..., n_out], in the dtype of x."""

_WORTH_ROUNDING = 2**20
"""Weights from which on int8 pays for the few rows of a decode step, which have to be rounded, too.
For the encoder's 1,500 rows it always pays. Measured in docs/decisions/cpu-library.md."""
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
    """A projection in oneDNN's own layout.

    `F.linear` lays a bfloat16 matrix out anew at every call.
    """

    weight: Tensor
    bias: Tensor | None
    activation: Literal["none", "gelu"] = "none"
    """Taken before the result is rounded, while it is in the cache."""

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, self.activation, [], "none"
        )
        return y


@dataclass(frozen=True, slots=True)
class Activated:
    """Another projection, and its GELU afterwards."""

    project: Linear

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.aten.gelu_(self.project(x))  # in place, which F.gelu cannot be
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
    """With the GELU."""
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
    """[V, n_state], looked up by token: rounded only to what a GPU computes in."""
    positions: Tensor
    """float32 [n_ctx, n_state]."""
    blocks: tuple[Block, ...]
    norm: Norm
    cross_key_value: Linear
    """features [..., n_state] -> [..., n_layers * 2 * n_state], keys first in each layer."""
    vocabulary: Vocabulary
    n_heads: int
    n_vocab: int
    dtype: torch.dtype
    """In which the projections compute."""


def encoder_weights(model: Whisper, precision: Precision) -> EncoderWeights:
    """Prepare the encoder of `model`."""
    encoder, dtype = model.encoder, precision.dtype
    return EncoderWeights(
        conv1=(_as(encoder.conv1.weight, dtype), _as(encoder.conv1.bias, dtype)),
        conv2=(_as(encoder.conv2.weight, dtype), _as(encoder.conv2.bias, dtype)),
        positions=_as(encoder.positional_embedding, torch.float32),
        blocks=tuple(_block(block, precision, has_many_rows=True) for block in encoder.blocks),
        norm=_norm(encoder.ln_post),
        n_heads=model.dims.n_audio_head,
    )


def decoder_weights(model: Whisper, precision: Precision) -> DecoderWeights:
    """Prepare the decoder of `model`."""
    decoder = model.decoder
    crosses = [block.cross_attn for block in decoder.blocks]
    key_values = [linear for cross in crosses for linear in (cross.key, cross.value)]
    embedding = _embedding(decoder.token_embedding.weight.detach(), precision)
    n_times = model.dims.n_audio_ctx + 1
    return DecoderWeights(
        embedding=embedding,
        positions=_as(decoder.positional_embedding, torch.float32),
        blocks=tuple(_block(block, precision) for block in decoder.blocks),
        norm=_norm(decoder.ln),
        cross_key_value=_fused(key_values, precision, has_many_rows=True),
        vocabulary=Vocabulary(
            project=(
                int8_linear(decoder.token_embedding.weight.detach(), None)
                if precision.has_rough_vocabulary
                else _linear(decoder.token_embedding.weight, None, precision)
            ),
            dtype=torch.float32 if precision.has_rough_vocabulary else precision.dtype,
            embedding=embedding,
            times=embedding[-n_times:].float() if precision.is_coarse else None,
        ),
        n_heads=model.dims.n_text_head,
        n_vocab=model.dims.n_vocab,
        dtype=precision.dtype,
    )


def _embedding(weight: Tensor, precision: Precision) -> Tensor:
    """The embedding in a coarse arithmetic's 16 bits would be most of what its logits are wrong by.

    OpenAI's checkpoints are float16, so that holds the same numbers in no more memory.
    """
    is_on_cpu = weight.device.type == "cpu"
    return (
        lossless_half(weight) if is_on_cpu or precision.is_coarse else _as(weight, precision.dtype)
    )


def _block(
    block: ResidualAttentionBlock, precision: Precision, *, has_many_rows: bool = False
) -> Block:
    """`has_many_rows`: it is called with 1,500 rows at once, not with a few."""
    attn, mlp = block.attn, block.mlp
    is_worth_it = has_many_rows or mlp[0].weight.numel() >= _WORTH_ROUNDING
    if precision.is_quantized and is_worth_it:
        mlp_norm, mlp_in, mlp_out = _rounded_mlp(block)
    else:
        mlp_norm = _norm(block.mlp_ln)
        mlp_in = _activated(mlp[0], precision, has_many_rows=has_many_rows)
        mlp_out = _fused([mlp[2]], precision, has_many_rows=has_many_rows)
    qkv = [attn.query, attn.key, attn.value]
    return Block(
        norm=_norm(block.attn_ln),
        qkv=_fused(qkv, precision, has_many_rows=has_many_rows),
        out=_fused([attn.out], precision, has_many_rows=has_many_rows),
        cross=_cross(block, precision) if block.cross_attn else None,
        mlp_norm=mlp_norm,
        mlp_in=mlp_in,
        mlp_out=mlp_out,
    )


def _rounded_mlp(block: ResidualAttentionBlock) -> tuple[Norm, Linear, Linear]:
    """Two thirds of a block's multiplications, in 8 bits. Rounding the projections around attention
    too costs words (docs/decisions/coarse-arithmetic.md)."""
    norm, first, second = _norm(block.mlp_ln), block.mlp[0], block.mlp[2]
    factors = smoothing_factors(norm.weight, norm.bias, first.weight.detach())
    return (
        Norm(norm.weight / factors, norm.bias / factors),
        Activated(int8_linear(first.weight.detach().float() * factors, first.bias.detach())),
        int8_linear(second.weight.detach(), second.bias.detach()),
    )


def _cross(block: ResidualAttentionBlock, precision: Precision) -> Cross:
    attn = block.cross_attn
    return Cross(
        norm=_norm(block.cross_attn_ln),
        query=_fused([attn.query], precision),
        out=_fused([attn.out], precision),
    )


def _fused(
    linears: Sequence[nn.Linear], precision: Precision, *, has_many_rows: bool = False
) -> Linear:
    """Several projections of one input as one; a missing bias (Whisper's keys) is zero."""
    weight = torch.cat([linear.weight.detach() for linear in linears])
    biases = [
        torch.zeros(linear.out_features, dtype=weight.dtype, device=weight.device)
        if linear.bias is None
        else linear.bias.detach()
        for linear in linears
    ]
    return _linear(weight, torch.cat(biases), precision, has_many_rows=has_many_rows)


def _linear(
    weight: Tensor, bias: Tensor | None, precision: Precision, *, has_many_rows: bool = False
) -> Linear:
    dtype = precision.dtype
    matrix, bias = _as(weight, dtype), None if bias is None else _as(bias, dtype)
    if matrix.device.type == "cpu":
        if dtype == torch.float32 and beats_torch(has_many_rows=has_many_rows):
            return float16_linear(matrix, bias)
        if _has_onednn_loop(dtype):
            return Packed(torch.ops.mkldnn._reorder_linear_weight(matrix, _ROWS_HINT), bias)
    return Dense(matrix, bias)


def _has_onednn_loop(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies so with instructions of this processor that are made for it."""
    if dtype == torch.bfloat16:
        return has_fast_bfloat16()
    return dtype == torch.float32 and has_avx512()


def _activated(linear: nn.Linear, precision: Precision, *, has_many_rows: bool) -> Linear:
    """A projection with its GELU."""
    project = _fused([linear], precision, has_many_rows=has_many_rows)
    if isinstance(project, Packed):
        return replace(project, activation="gelu")
    return Activated(project)


def _norm(norm: nn.LayerNorm) -> Norm:
    return Norm(_as(norm.weight, torch.float32), _as(norm.bias, torch.float32))


def _as(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.detach().to(dtype).contiguous()
