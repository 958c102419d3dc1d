"""Spectrogram to features: Whisper's encoder over prepared weights.

The residual stream stays float32 while the matrices are in the compute dtype. Each window gives
the same features whichever windows share the call.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_service.engine.weights import Block, EncoderWeights

_SCORE_ROWS = 500
"""Queries whose scores are taken at once: 500 x 1500 bfloat16 are 1.5 MB, about a core's cache."""


def encode(weights: EncoderWeights, mels: Tensor) -> Tensor:
    """Mels float32 [B, n_mels, 3000] -> features [B, 1500, n_state] in the compute dtype.

    On a CPU one window at a time: it fills the cores, and its temporaries stay near the caches.
    """
    if mels.device.type == "cpu" and len(mels) > 1:
        return torch.cat([encode(weights, mel[None]) for mel in mels])
    dtype = weights.conv1[0].dtype
    x = F.gelu(F.conv1d(mels.to(dtype), *weights.conv1, padding=1))
    x = F.gelu(F.conv1d(x, *weights.conv2, stride=2, padding=1))
    stream = x.transpose(1, 2) + weights.positions
    for block in weights.blocks:
        stream = _block(block, stream, weights, dtype)
    return weights.norm(stream).to(dtype)


def _block(block: Block, x: Tensor, weights: EncoderWeights, dtype: torch.dtype) -> Tensor:
    """x: float32 [B, T, n_state]."""
    attended = _attend(block.qkv(block.norm(x).to(dtype)), weights)
    x = x + block.out(attended)
    hidden = F.gelu(block.mlp_in(block.mlp_norm(x).to(dtype)))
    return x + block.mlp_out(hidden)


def _attend(qkv: Tensor, weights: EncoderWeights) -> Tensor:
    """qkv [B, T, 3 * n_state] -> [B, T, n_state]."""
    n_batch, n_frames, width = qkv.shape
    n_heads = weights.n_heads
    heads = qkv.view(n_batch, n_frames, 3, n_heads, width // 3 // n_heads).permute(2, 0, 3, 1, 4)
    if weights.has_rough_scores and qkv.dtype == torch.bfloat16:
        attended = _attend_roughly(*heads)
    else:
        attended = F.scaled_dot_product_attention(*heads)
    return attended.transpose(1, 2).reshape(n_batch, n_frames, width // 3)


def _attend_roughly(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention [B, H, T, D] by plain bfloat16 products, head by head, on a CPU.

    torch's fused kernel keeps the scores in float32, and with it tiny's encoder takes 0.18 s on
    two Zen 4 cores, with this 0.15 s. Scores of 8 bits cost one more window of 200 its words.
    """
    n_batch, n_heads, n_frames, width = queries.shape
    attended = torch.empty_like(queries, memory_format=torch.contiguous_format)
    scaled = queries * width**-0.5
    for row in range(n_batch):
        for head in range(n_heads):
            key, value = keys[row, head].t(), values[row, head]
            for start in range(0, n_frames, _SCORE_ROWS):
                rows = slice(start, start + _SCORE_ROWS)
                weights = torch.softmax(scaled[row, head, rows] @ key, dim=-1)
                attended[row, head, rows] = weights @ value
    return attended
