"""Attention of the rows being decoded over the cache, in plain torch: any device, any dtype.

The reference for `engine.cpu`, which does the same in one pass over each key and value.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_service.engine.cache import Cache


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows a step is about; all int64 [R], and the same numbers as ints for the host."""

    tokens: Tensor
    positions: Tensor
    lines: Tensor
    slots: Tensor
    n_positions: int
    """One more than the last position."""
    n_queries: int
    """The most rows of one slot."""
    queries: Tensor
    """The row's number among the rows of its slot."""
    past_mask: Tensor | None = None
    """[R, 1, 1, n_positions], added to the scores of the past: minus infinity after the row's
    position. Made once for all layers where a launch costs more than the numbers."""

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
    attended = F.scaled_dot_product_attention(
        query[:, :, None],
        keys[sources, span].transpose(1, 2),
        values[sources, span].transpose(1, 2),
        attn_mask=past_mask(rows, qkv.dtype) if rows.past_mask is None else rows.past_mask,
    )
    return attended.reshape(len(rows), -1)


def past_mask(rows: Rows, dtype: torch.dtype) -> Tensor:
    """What `Rows.past_mask` holds."""
    span = torch.arange(rows.n_positions, device=rows.positions.device)
    mask = torch.zeros(len(rows), 1, 1, rows.n_positions, dtype=dtype, device=span.device)
    return mask.masked_fill_((span > rows.positions[:, None])[:, None, None], -torch.inf)


def attend_past_in_place(cache: Cache, layer: int, qkv: Tensor, rows: Rows) -> Tensor:
    """As `attend_past`, where row r has line r and all its past in it: nothing is gathered."""
    keys, values = cache.past[layer]
    query, key, value = qkv.view(len(rows), 3, *keys.shape[-2:]).unbind(1)
    keys[rows.lines, rows.positions] = key
    values[rows.lines, rows.positions] = value
    n_rows, n_positions = len(rows), rows.n_positions
    attended = F.scaled_dot_product_attention(
        query[:, :, None],
        keys[:n_rows, :n_positions].transpose(1, 2),
        values[:n_rows, :n_positions].transpose(1, 2),
        attn_mask=past_mask(rows, qkv.dtype) if rows.past_mask is None else rows.past_mask,
    )
    return attended.reshape(n_rows, -1)


def attend_audio_in_place(cache: Cache, layer: int, query: Tensor, rows: Rows) -> Tensor:
    """As `attend_audio`, where `n_queries` rows in turn belong to each of the first slots: nothing
    is moved, and slots after the last one are not looked at."""
    n_slots = len(rows) // rows.n_queries
    keys, values = cache.keys[layer, :n_slots], cache.values[layer, :n_slots]
    by_slot = query.view(n_slots, rows.n_queries, keys.shape[1], -1).transpose(1, 2)
    attended = F.scaled_dot_product_attention(by_slot, keys, values)
    return attended.transpose(1, 2).reshape(len(rows), -1)


def attend_audio(cache: Cache, layer: int, query: Tensor, rows: Rows) -> Tensor:
    """Attend to each row's window. query [R, n_state] -> [R, n_state].

    Queries are laid out by slot, so that no key or value is copied, and those of beams are read
    once; a slot without rows costs its share all the same.
    """
    keys, values = cache.keys[layer], cache.values[layer]
    n_slots, n_heads, _, width = keys.shape
    by_slot = query.new_zeros(n_slots, n_heads, rows.n_queries, width)
    by_slot[rows.slots, :, rows.queries] = query.view(len(rows), n_heads, width)
    attended = F.scaled_dot_product_attention(by_slot, keys, values)
    return attended[rows.slots, :, rows.queries].reshape(len(rows), -1)


Attend = Callable[[Cache, int, Tensor, Rows], Tensor]
"""(cache, layer, query or fused query, key and value, rows) -> [R, n_state]."""


@dataclass(frozen=True, slots=True)
class Attention:
    """How a step attends to the tokens before it, and to the audio."""

    past: Attend = attend_past
    audio: Attend = attend_audio
