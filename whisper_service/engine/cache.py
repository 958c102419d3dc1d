"""Keys and values of all windows and rows in hand, allocated once.

A slot holds the cross-attention keys and values of one window. A line holds the self-attention keys
and values of one row, position by position. Where the past of a row lies is a table: a beam that is
continued from another takes over a line of the table, and no key or value is moved or copied.
"""

import math
import mmap
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor
from whisper.model import ModelDimensions


@dataclass(frozen=True, slots=True)
class Cache:
    """The tensors; who uses which slot and line is the batch's business."""

    cross: Tensor
    """[n_layers, 2, n_slots, H, 1500, D]: keys, then values."""
    heard: Tensor
    """int64 [n_slots], on the host: how many of a slot's frames hold its window."""
    past: Tensor
    """[n_layers, 2, n_lines, n_ctx, H, D]."""
    table: Tensor
    """int32 [n_lines, n_ctx]: the line where a row's key and value of a position are."""

    @property
    def n_slots(self) -> int:
        return self.cross.shape[2]

    @property
    def n_lines(self) -> int:
        return self.past.shape[2]

    @property
    def n_bytes(self) -> int:
        tensors = (self.cross, self.past, self.table)
        return sum(tensor.nbytes for tensor in tensors)


def allocate(
    dims: ModelDimensions, n_slots: int, n_lines: int, dtype: torch.dtype, device: torch.device
) -> Cache:
    """Take the memory for `n_slots` windows and `n_lines` rows."""
    layers, heads = dims.n_text_layer, dims.n_text_head
    width = dims.n_text_state // heads
    lines = torch.arange(n_lines, dtype=torch.int32, device=device)
    return Cache(
        cross=_zeros((layers, 2, n_slots, heads, dims.n_audio_ctx, width), dtype, device),
        heard=torch.full((n_slots,), dims.n_audio_ctx),
        past=_zeros((layers, 2, n_lines, dims.n_text_ctx, heads, width), dtype, device),
        table=lines[:, None].repeat(1, dims.n_text_ctx),
    )


def n_bytes(dims: ModelDimensions, n_slots: int, n_lines: int, dtype: torch.dtype) -> int:
    """What `allocate` will take."""
    positions = n_slots * dims.n_audio_ctx + n_lines * dims.n_text_ctx
    elements = 2 * dims.n_text_layer * dims.n_text_state * positions
    return int(elements * dtype.itemsize + 4 * n_lines * dims.n_text_ctx)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros, on Linux's huge pages if it has any: a step reads all keys and values in use, and
    waits for the address of every page."""
    if device.type != "cpu" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.zeros(shape, dtype=dtype, device=device)
    n_bytes = math.prod(shape) * dtype.itemsize
    pages = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype).view(shape)
