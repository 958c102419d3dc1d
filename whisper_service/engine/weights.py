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

from whisper_service.engine.precision import Precision, has_fast_bfloat16
from whisper_service.engine.quantized import balance, quantized
from whisper_service.engine.vocabulary import Vocabulary

Linear = Callable[[Tensor], Tensor]
"""x [..., n_in] -> [..., n_out], in the dtype of x."""

_WORTH_ROUNDING = 2**20
"""Weights from which on int8 pays for the few rows of a decoder's step, which have to be rounded,
too: on one Zen 4 core, bfloat16 took 0.07 ms for 1536 x 384 and 0.64 for 5120 x 1280, int8 0.10
and 0.42. The encoder's 1,500 rows are always worth it (8.2 and 4.9 ms)."""
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
    has_rough_scores: bool
    """Whether attention may round its scores to bfloat16, for speed."""


@dataclass(frozen=True, slots=True)
class DecoderWeights:
    embedding: Tensor
    """[V, n_state] in the compute dtype: looked up by token. The vocabulary's matrix, too."""
    positions: Tensor
    """float32 [n_ctx, n_state]."""
    blocks: tuple[Block, ...]
    norm: Norm
    cross_key_value: Linear
    """features [..., n_state] -> [..., n_layers * 2 * n_state], keys first in each layer."""
    vocabulary: Vocabulary
    n_heads: int
    n_vocab: int


def encoder_weights(model: Whisper, precision: Precision) -> EncoderWeights:
    """Prepare the encoder of `model`."""
    encoder, dtype = model.encoder, precision.dtype
    return EncoderWeights(
        conv1=(_as(encoder.conv1.weight, dtype), _as(encoder.conv1.bias, dtype)),
        conv2=(_as(encoder.conv2.weight, dtype), _as(encoder.conv2.bias, dtype)),
        positions=_as(encoder.positional_embedding, torch.float32),
        blocks=tuple(_block(block, precision, n_rows=_ROWS_HINT) for block in encoder.blocks),
        norm=_norm(encoder.ln_post, _balance_of_cross(model, precision)),
        n_heads=model.dims.n_audio_head,
        has_rough_scores=precision.is_quantized,
    )


def decoder_weights(model: Whisper, precision: Precision) -> DecoderWeights:
    """Prepare the decoder of `model`."""
    decoder = model.decoder
    embedding = _as(decoder.token_embedding.weight, precision.dtype)
    n_times = model.dims.n_audio_ctx + 1
    return DecoderWeights(
        embedding=embedding,
        positions=_as(decoder.positional_embedding, torch.float32),
        blocks=tuple(_block(block, precision) for block in decoder.blocks),
        norm=_norm(decoder.ln),
        cross_key_value=_fused(
            _cross_key_values(model), precision, _ROWS_HINT, _balance_of_cross(model, precision)
        ),
        vocabulary=Vocabulary(
            project=(
                quantized(decoder.token_embedding.weight.detach(), None)
                if precision.has_rough_vocabulary
                else _linear(decoder.token_embedding.weight, None, precision)
            ),
            dtype=torch.float32 if precision.has_rough_vocabulary else precision.dtype,
            embedding=embedding,
            times=embedding[-n_times:].float() if precision.is_coarse else None,
        ),
        n_heads=model.dims.n_text_head,
        n_vocab=model.dims.n_vocab,
    )


def _cross_key_values(model: Whisper) -> list[nn.Linear]:
    crosses = [block.cross_attn for block in model.decoder.blocks]
    return [linear for cross in crosses for linear in (cross.key, cross.value)]


def _balance_of_cross(model: Whisper, precision: Precision) -> Tensor | None:
    """What the encoder's last norm is divided by, for the decoder's first product with it."""
    return _balance(model.encoder.ln_post, _cross_key_values(model), precision, _ROWS_HINT)


def _block(block: ResidualAttentionBlock, precision: Precision, n_rows: int = 1) -> Block:
    attn, mlp = block.attn, block.mlp
    norm, qkv = _after_norm(block.attn_ln, [attn.query, attn.key, attn.value], precision, n_rows)
    mlp_norm, mlp_in = _after_norm(block.mlp_ln, [mlp[0]], precision, n_rows)
    return Block(
        norm=norm,
        qkv=qkv,
        out=_fused([attn.out], precision, n_rows),
        cross=_cross(block, precision) if block.cross_attn else None,
        mlp_norm=mlp_norm,
        mlp_in=mlp_in,
        mlp_out=_fused([mlp[2]], precision, n_rows),
    )


def _cross(block: ResidualAttentionBlock, precision: Precision) -> Cross:
    attn = block.cross_attn
    norm, query = _after_norm(block.cross_attn_ln, [attn.query], precision, n_rows=1)
    return Cross(norm=norm, query=query, out=_fused([attn.out], precision))


def _after_norm(
    norm: nn.LayerNorm, linears: Sequence[nn.Linear], precision: Precision, n_rows: int
) -> tuple[Norm, Linear]:
    """A layer norm and the projections of what it gives."""
    factors = _balance(norm, linears, precision, n_rows)
    return _norm(norm, factors), _fused(linears, precision, n_rows, factors)


def _balance(
    norm: nn.LayerNorm, linears: Sequence[nn.Linear], precision: Precision, n_rows: int
) -> Tensor | None:
    weight = torch.cat([linear.weight.detach() for linear in linears])
    if not _is_rounded(weight, precision, n_rows):
        return None
    return balance(norm.weight.detach(), norm.bias.detach(), weight)


def _fused(
    linears: Sequence[nn.Linear],
    precision: Precision,
    n_rows: int = 1,
    factors: Tensor | None = None,
) -> Linear:
    """Several projections of one input as one; a missing bias (Whisper's keys) is zero.

    `factors` [n_in]: what the input has been divided by.
    """
    weight = torch.cat([linear.weight.detach() for linear in linears])
    biases = [
        torch.zeros(linear.out_features, dtype=weight.dtype, device=weight.device)
        if linear.bias is None
        else linear.bias.detach()
        for linear in linears
    ]
    if factors is not None:
        weight = weight.float() * factors
    return _linear(weight, torch.cat(biases), precision, n_rows)


def _is_rounded(weight: Tensor, precision: Precision, n_rows: int) -> bool:
    """`n_rows`: how many the matrix is mostly called with, one or many."""
    return precision.is_quantized and (n_rows > 1 or weight.numel() >= _WORTH_ROUNDING)


def _linear(weight: Tensor, bias: Tensor | None, precision: Precision, n_rows: int = 1) -> Linear:
    if _is_rounded(weight, precision, n_rows):
        return quantized(weight.detach(), bias)
    dtype = precision.dtype
    matrix, bias = _as(weight, dtype), None if bias is None else _as(bias, dtype)
    if matrix.device.type == "cpu" and dtype == torch.bfloat16 and has_fast_bfloat16():
        return Packed(torch.ops.mkldnn._reorder_linear_weight(matrix, _ROWS_HINT), bias)
    return Dense(matrix, bias)


def _norm(norm: nn.LayerNorm, factors: Tensor | None = None) -> Norm:
    weight, bias = _as(norm.weight, torch.float32), _as(norm.bias, torch.float32)
    return Norm(weight, bias) if factors is None else Norm(weight / factors, bias / factors)


def _as(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.detach().to(dtype).contiguous()
