"""The decoder over the cache: a prompt at once, then one token for every row of the batch.

Owns the arithmetic of Whisper's decoder. Refuses to know which token comes next and why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_service.engine.attention import Attention, Rows
from whisper_service.engine.cache import Cache
from whisper_service.engine.weights import Block, DecoderWeights


@dataclass(frozen=True, slots=True)
class Decoder:
    """Whisper's decoder over prepared weights."""

    weights: DecoderWeights
    attention: Attention = field(default_factory=Attention)

    def write_cross_kv(self, cache: Cache, features: Tensor, slots: Sequence[int]) -> None:
        """Put each window's cross-attention keys and values into its slot.

        features [B, T, n_state]: all 1,500 frames, or fewer where `attention` goes by
        `Cache.n_frames`, as `engine.cpu`'s does.
        """
        n_layers, _, n_heads, _, width = cache.values.shape
        n_frames = features.shape[1]
        for window, slot in zip(features, slots, strict=True):
            projected = self.weights.cross_key_value(window)
            cache.write_window(slot, projected.view(n_frames, n_layers, 2, n_heads, width))

    def step(self, cache: Cache, rows: Rows) -> Tensor:
        """Take one token per row; -> states float32 [R, n_state], for the next one."""
        cache.table[rows.lines, rows.positions] = rows.lines.int()
        x = self._embed(rows.tokens, rows.positions)
        for layer, block in enumerate(self.weights.blocks):
            x = self._block(cache, layer, block, x, rows)
        return self.weights.norm(x)

    def prefill(
        self,
        cache: Cache,
        tokens: Tensor,
        line: int,
        slot: int,
        heads: Mapping[int, Sequence[int]] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Take a whole prompt, int64 [n], into the start of a line.

        -> states float32 [n, n_state]; for each of `heads` (by layer) the cross-attention scores
        float32 [n, 1500] before the softmax.
        """
        n_tokens = len(tokens)
        x = self._embed(tokens, torch.arange(n_tokens, device=tokens.device))
        scores: list[Tensor] = []
        for layer, block in enumerate(self.weights.blocks):
            assert block.cross
            x = x + block.out(self._attend_prompt(cache, layer, block, x, line))
            query = block.cross.query(block.cross.norm(x).to(self._dtype))
            keys, values = cache.window(layer, slot)
            by_head = query.view(n_tokens, self.weights.n_heads, -1).transpose(0, 1)
            scale = by_head.shape[-1] ** -0.5
            weighted = torch.matmul(by_head * scale, keys.transpose(1, 2)).float()
            scores += [weighted[head] for head in (heads or {}).get(layer, ())]
            attended = torch.matmul(torch.softmax(weighted, -1).to(self._dtype), values)
            x = x + block.cross.out(attended.transpose(0, 1).reshape(n_tokens, -1))
            x = x + self._mlp(block, x)
        return self.weights.norm(x), scores

    def logits(self, states: Tensor) -> Tensor:
        """States float32 [R, n_state] -> logits float32 [R, V]."""
        return self.weights.vocabulary(states)

    @property
    def _dtype(self) -> torch.dtype:
        return self.weights.dtype

    def _embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        return self.weights.embedding[tokens] + self.weights.positions[positions]

    def _block(self, cache: Cache, layer: int, block: Block, x: Tensor, rows: Rows) -> Tensor:
        """x: float32 [R, n_state]."""
        assert block.cross
        qkv = block.qkv(block.norm(x).to(self._dtype))
        x = x + block.out(self.attention.past(cache, layer, qkv, rows))
        query = block.cross.query(block.cross.norm(x).to(self._dtype))
        x = x + block.cross.out(self.attention.audio(cache, layer, query, rows))
        return x + self._mlp(block, x)

    def _mlp(self, block: Block, x: Tensor) -> Tensor:
        return block.mlp_out(block.mlp_in(block.mlp_norm(x).to(self._dtype)))

    def _attend_prompt(
        self, cache: Cache, layer: int, block: Block, x: Tensor, line: int
    ) -> Tensor:
        """Causal self-attention of x [n, n_state] over itself, kept in the cache."""
        n_tokens = len(x)
        qkv = block.qkv(block.norm(x).to(self._dtype))
        parts = qkv.view(n_tokens, 3, self.weights.n_heads, -1)
        cache.past[layer, :, line, :n_tokens] = parts[:, 1:].transpose(0, 1)
        query, key, value = parts.permute(1, 2, 0, 3)[:, None]
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return attended[0].transpose(0, 1).reshape(n_tokens, -1)
