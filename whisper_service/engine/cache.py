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
    """[n_layers, 2, n_slots, H, 1500, D]: keys, then values; with `panel`, more frames at the end,
    and each head's keys in that order: [n_panels, D, panel]."""
    heard: Tensor
    """int64 [n_slots], on the host: how many of a slot's frames hold its window."""
    past: Tensor
    """[n_layers, 2, n_lines, n_ctx, H, D]."""
    table: Tensor
    """int32 [n_lines, n_ctx]: the line where a row's key and value of a position are."""
    n_frames: int
    """The most frames of a window: 1500."""
    panel: int = 0
    """Frames whose keys lie side by side, so that a CPU multiplies them all with a number of a
    query at once; 0: keys lie as values do."""

    @property
    def n_slots(self) -> int:
        return self.cross.shape[2]

    @property
    def n_lines(self) -> int:
        return self.past.shape[2]

    def write_window(self, slot: int, projected: Tensor) -> None:
        """Put a window into a slot: its keys and values [n_frames, n_layers, 2, H, D]."""
        n = len(projected)
        self.heard[slot] = n
        if not self.panel:
            self.cross[:, :, slot, :, :n] = projected.permute(1, 2, 3, 0, 4)
            return
        keys, values = projected.unbind(2)
        self.cross[:, 1, slot, :, :n] = values.permute(1, 2, 0, 3)
        panels = self._panels(self.cross[:, 0, slot])
        n_whole, n_rest = divmod(n, self.panel)
        whole = keys[: n - n_rest].view(n_whole, self.panel, *keys.shape[1:])
        panels[:, :, :n_whole] = whole.permute(2, 3, 0, 4, 1)
        if n_rest:
            panels[:, :, n_whole, :, :n_rest] = keys[n - n_rest :].permute(1, 2, 3, 0)

    def window(self, layer: int, slot: int) -> tuple[Tensor, Tensor]:
        """Keys and values [H, n, D] of the n frames a slot holds."""
        keys, values = self.cross[layer, :, slot]
        n = int(self.heard[slot])
        return self._in_order(keys, n), values[:, :n]

    def windows(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values [n_slots, H, 1500, D] of all slots, whatever they hold."""
        keys, values = self.cross[layer]
        return self._in_order(keys, self.n_frames), values[..., : self.n_frames, :]

    def _panels(self, keys: Tensor) -> Tensor:
        """Keys [..., T, D] in panels: [..., n_panels, D, panel], the same memory."""
        *rest, n_frames, width = keys.shape
        return keys.view(*rest, n_frames // self.panel, width, self.panel)

    def _in_order(self, keys: Tensor, n: int) -> Tensor:
        """The first n keys of [..., T, D], frame by frame: a view, or of panels a copy."""
        if not self.panel:
            return keys[..., :n, :]
        n_panels = -(-n // self.panel)
        panels = self._panels(keys)[..., :n_panels, :, :]
        return panels.transpose(-1, -2).flatten(-3, -2)[..., :n, :]

    @property
    def n_bytes(self) -> int:
        tensors = (self.cross, self.past, self.table)
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
    """Take the memory for `n_slots` windows and `n_lines` rows; `panel` as in `Cache`."""
    layers, heads = dims.n_text_layer, dims.n_text_head
    width = dims.n_text_state // heads
    lines = torch.arange(n_lines, dtype=torch.int32, device=device)
    n_frames = dims.n_audio_ctx
    n_stored = -(-n_frames // panel) * panel if panel else n_frames
    return Cache(
        cross=_zeros((layers, 2, n_slots, heads, n_stored, width), dtype, device),
        heard=torch.full((n_slots,), n_frames),
        past=_zeros((layers, 2, n_lines, dims.n_text_ctx, heads, width), dtype, device),
        table=lines[:, None].repeat(1, dims.n_text_ctx),
        n_frames=n_frames,
        panel=panel,
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
