"""Attention of the rows being decoded over the cache, in plain torch: any device, any dtype.

The reference for `kernels`, which does the same on a CPU in one pass over each key and value.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_service.engine.cache import Cache


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows a step is about; all int64 [R], and the same facts as ints for the host."""

    tokens: Tensor
    positions: Tensor
    lines: Tensor
    slots: Tensor
    n_positions: int
    """One more than the last position."""
    n_queries: int
    """The most rows that listen to one slot."""
    queries: Tensor
    """The row's number among the rows of its slot."""

    def __len__(self) -> int:
        return len(self.tokens)


def attend_past(cache: Cache, layer: int, qkv: Tensor, rows: Rows) -> Tensor:
    """Write each row's new key and value, then attend to its past. qkv [R, 3 * n_state]."""
    keys, values = cache.past[layer]
    query, key, value = qkv.view(len(rows), 3, *keys.shape[-2:]).unbind(1)
    keys[rows.lines, rows.positions] = key
    values[rows.lines, rows.positions] = value
    span = torch.arange(rows.n_positions, device=qkv.device)
    sources = cache.table[rows.lines, : rows.n_positions].long()
    is_past = span <= rows.positions[:, None]
    attended = F.scaled_dot_product_attention(
        query[:, :, None],
        keys[sources, span].transpose(1, 2),
        values[sources, span].transpose(1, 2),
        attn_mask=is_past[:, None, None],
    )
    return attended.reshape(len(rows), -1)


def attend_audio(cache: Cache, layer: int, query: Tensor, rows: Rows) -> Tensor:
    """Attend to each row's window. query [R, n_state] -> [R, n_state].

    Queries are laid out by slot, so that no key or value is copied, and those of beams are read
    once; a slot nobody listens to costs its share all the same.
    """
    keys, values = cache.cross[layer]
    n_slots, n_heads, _, width = keys.shape
    by_slot = query.new_zeros(n_slots, n_heads, rows.n_queries, width)
    by_slot[rows.slots, :, rows.queries] = query.view(len(rows), n_heads, width)
    attended = F.scaled_dot_product_attention(by_slot, keys, values)
    return attended[rows.slots, :, rows.queries].reshape(len(rows), -1)
