"""Keys and values of all windows and rows being decoded, allocated once.

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

_TRANSPOSED_AT_ONCE = 32
"""Frames, a cache line of each dimension: torch takes five times as long for 1,500 at once."""


@dataclass(frozen=True, slots=True)
class Cache:
    """The tensors; what uses which slot and line is the batch's business."""

    keys: Tensor
    """[n_layers, n_slots, H, 1500, D], of the windows; in memory frame by frame or, as `engine.cpu`
    multiplies them, with all frames of a dimension side by side."""
    values: Tensor
    """[n_layers, n_slots, H, 1500, D]."""
    n_frames: Tensor
    """int64 [n_slots], on the host: how many of a slot's frames hold its window."""
    past: Tensor
    """[n_layers, 2, n_lines, n_ctx, H, D]."""
    table: Tensor
    """int32 [n_lines, n_ctx]: the line where a row's key and value of a position are."""

    @property
    def has_transposed_keys(self) -> bool:
        """Whether all frames of a dimension of the keys lie side by side."""
        return self.keys.stride(-2) == 1

    @property
    def n_slots(self) -> int:
        return self.values.shape[1]

    @property
    def n_lines(self) -> int:
        return self.past.shape[2]

    def write_window(self, slot: int, projected: Tensor) -> None:
        """Put a window into a slot: its keys and values [n_frames, n_layers, 2, H, D]."""
        n_frames = len(projected)
        keys, values = projected.permute(2, 1, 3, 0, 4)
        target = self.keys[:, slot, :, :n_frames]
        step = _TRANSPOSED_AT_ONCE if self.has_transposed_keys else n_frames
        for begin in range(0, n_frames, step):
            frames = slice(begin, begin + step)
            target[:, :, frames] = keys[:, :, frames]
        self.values[:, slot, :, :n_frames] = values
        self.n_frames[slot] = n_frames

    def window(self, layer: int, slot: int) -> tuple[Tensor, Tensor]:
        """Keys and values [H, n, D] of the n frames a slot holds."""
        n_frames = int(self.n_frames[slot])
        return self.keys[layer, slot, :, :n_frames], self.values[layer, slot, :, :n_frames]

    @property
    def n_bytes(self) -> int:
        tensors = (self.keys, self.values, self.past, self.table)
        return sum(tensor.nbytes for tensor in tensors)


def allocate(
    dims: ModelDimensions,
    n_slots: int,
    n_lines: int,
    dtype: torch.dtype,
    device: torch.device,
    *,
    panel: int = 0,
) -> Cache:
    """Take the memory for `n_slots` windows and `n_lines` rows.

    With a `panel` the keys are transposed, their frames padded to whole panels of so many.
    """
    layers, heads = dims.n_text_layer, dims.n_text_head
    width = dims.n_text_state // heads
    lines = torch.arange(n_lines, dtype=torch.int32, device=device)
    shape = (layers, n_slots, heads, dims.n_audio_ctx, width)
    if panel:
        n_padded = -(-dims.n_audio_ctx // panel) * panel
        padded = _zeros((layers, n_slots, heads, width, n_padded), dtype, device)
        keys = padded.transpose(-1, -2)[..., : dims.n_audio_ctx, :]
    else:
        keys = _zeros(shape, dtype, device)
    return Cache(
        keys=keys,
        values=_zeros(shape, dtype, device),
        n_frames=torch.full((n_slots,), dims.n_audio_ctx),
        past=_zeros((layers, 2, n_lines, dims.n_text_ctx, heads, width), dtype, device),
        table=lines[:, None].repeat(1, dims.n_text_ctx),
    )


def n_bytes(dims: ModelDimensions, n_slots: int, n_lines: int, dtype: torch.dtype) -> int:
    """What `allocate` will take, without panels."""
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
