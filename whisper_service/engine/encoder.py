"""Spectrogram to features: Whisper's encoder over prepared weights.

The residual stream stays float32 while the matrices are in the compute dtype. Each window gives
the same features whichever windows share the call.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_service.engine.weights import Block, EncoderWeights


def encode(weights: EncoderWeights, mels: Tensor) -> Tensor:
    """Mels float32 [B, n_mels, 2 * T] -> features [B, T, n_state] in the compute dtype; T is 1,500
    for the 30 s that Whisper was trained on.

    On a CPU one window at a time: it fills the cores, and its temporaries stay near the caches.
    """
    if mels.device.type == "cpu" and len(mels) > 1:
        return torch.cat([encode(weights, mel[None]) for mel in mels])
    dtype = weights.conv1[0].dtype
    x = F.gelu(F.conv1d(mels.to(dtype), *weights.conv1, padding=1))
    x = F.conv1d(x, *weights.conv2, stride=2, padding=1)
    # Else a sum would keep the convolution's order, frames last, and all that follows is slower.
    stream = F.gelu(x.transpose(1, 2).contiguous().float()) + weights.positions[: x.shape[2]]
    for block in weights.blocks:
        _add_block(block, stream, weights, dtype)
    return weights.norm(stream).to(dtype)


def _add_block(block: Block, x: Tensor, weights: EncoderWeights, dtype: torch.dtype) -> None:
    """x: float32 [B, T, n_state], in place: new memory for each sum would be mapped each time."""
    x += block.out(_attend(block.qkv(block.norm(x).to(dtype)), weights))
    x += block.mlp_out(block.mlp_in(block.mlp_norm(x).to(dtype)))


def _attend(qkv: Tensor, weights: EncoderWeights) -> Tensor:
    """qkv [B, T, 3 * n_state] -> [B, T, n_state]."""
    n_batch, n_frames, width = qkv.shape
    heads = qkv.view(n_batch, n_frames, 3, weights.n_heads, -1).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(*heads)
    return attended.transpose(1, 2).reshape(n_batch, n_frames, width // 3)
