"""The decoder's attention (`engine.attention`), compiled for this CPU: each key and value is read
once.

Rows of the same window, the beams of a search, share what is read of it: five take a third
more time than one. Scores, softmax and sum of a head stay in the cache of the core that works on
it, in float32, whatever the dtype of the tensors. It needs the GNU OpenMP that torch has loaded.
"""

# mypy: disable-error-code="untyped-decorator"
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import carray, literally, njit
from torch import Tensor
from whisper.model import ModelDimensions

from whisper_service.engine.attention import Attention, Rows
from whisper_service.engine.cache import Cache
from whisper_service.engine.cpu import openmp
from whisper_service.engine.cpu.gemm import most_rows, multiply, panel_width
from whisper_service.engine.cpu.kernel import LOOP, in_order, kernel, load, pointer, store
from whisper_service.engine.cpu.openmp import share


def key_panel(dims: ModelDimensions, dtype: torch.dtype, device: torch.device) -> int:
    """The `panel` of a cache for `compiled_attention`; 0, which is none, for a GPU, for float16,
    without GNU OpenMP, and for heads that are not whole panels wide, as Whisper's are."""
    if device.type != "cpu" or openmp.library() is None:
        return 0
    is_known = dtype in (torch.float32, torch.bfloat16)
    width = dims.n_text_state // dims.n_text_head
    return panel_width() if is_known and width % panel_width() == 0 else 0


def compiled_attention(store: Cache) -> Attention | None:
    """The compiled attention over `store`; None where its keys are not transposed."""
    if not store.has_transposed_keys:
        return None
    width = store.values.shape[-1]
    past, audio = _compiled(store.values.dtype, width)

    def attend_past(store: Cache, layer: int, qkv: Tensor, rows: Rows) -> Tensor:
        """As `attention.attend_past`."""
        _, _, n_lines, n_ctx, n_heads, _ = store.past.shape
        out = qkv.new_empty(len(rows), n_heads * width)
        openmp.run(
            past,
            (qkv, store.past[layer], store.table, rows.lines, rows.positions, out),
            (len(rows), n_heads, n_lines, n_ctx),
        )
        return out

    def attend_audio(store: Cache, layer: int, query: Tensor, rows: Rows) -> Tensor:
        """As `attention.attend_audio`."""
        keys, values = store.keys[layer], store.values[layer]
        n_slots, n_heads, n_frames, _ = values.shape
        out = torch.empty_like(query)
        openmp.run(
            audio,
            (query, values, rows.slots, store.n_frames, out),
            (len(rows), n_heads, n_slots, n_frames, keys.data_ptr(), keys.stride(-1)),
        )
        return out

    return Attention(attend_past, attend_audio)


_GROUP_SIZE = 6
"""Rows of one window that share what is read of it: with AVX2 those of two tiles, which hold three.
A wider search has several groups."""


@cache
def _compiled(dtype: torch.dtype, width: int) -> tuple[Any, Any]:
    """Both kernels for a number format and a head's width."""
    number = np.uint16 if dtype == torch.bfloat16 else np.float32
    size = np.int64(np.dtype(number).itemsize)
    most, panel, group_size = most_rows(), panel_width(), _GROUP_SIZE

    @kernel
    def audio(arguments: Any) -> None:
        p = carray(arguments, (11,), np.int64)
        n_rows, n_heads, n_slots, n_frames, keys, n_padded = p[5], p[6], p[7], p[8], p[9], p[10]
        query = carray(pointer(p[0]), (n_rows, n_heads, width), number)
        values = p[1]
        slots = carray(pointer(p[2]), (n_rows,), np.int64)
        lengths = carray(pointer(p[3]), (n_slots,), np.int64)
        out = carray(pointer(p[4]), (n_rows, n_heads, width), number)
        queries = np.empty((group_size, width), np.float32)
        scores = np.empty((group_size, n_padded), np.float32)
        totals = np.empty((group_size, width), np.float32)
        norms = np.empty(group_size, np.float32)
        nothing = np.zeros(panel, np.float32).ctypes.data
        starts = np.empty(n_rows + 1, np.int64)  # of rows side by side of the same window
        n_groups = 0
        for row in range(n_rows):
            is_new = row == 0 or slots[row] != slots[row - 1]
            if is_new or row - starts[n_groups - 1] == group_size:
                starts[n_groups] = row
                n_groups += 1
        starts[n_groups] = n_rows
        first, last = share(n_groups * n_heads)
        for item in range(first, last):
            group, head = item // n_heads, item % n_heads
            row, n = starts[group], starts[group + 1] - starts[group]
            n_heard = lengths[slots[row]]
            offset = (slots[row] * n_heads + head) * width * size
            for i in range(n):
                for j in range(width):
                    queries[i, j] = load(query[row + i, head, j])
            for frame in range(0, n_heard, panel):
                for i in range(0, n, most):  # keys that the second time are in the core's cache
                    multiply(
                        number,
                        min(most, n - i),
                        queries.ctypes.data + i * width * 4,
                        width,
                        keys + offset * n_padded + frame * size,
                        n_padded,
                        width,
                        nothing,
                        scores.ctypes.data + (i * n_padded + frame) * 4,
                        n_padded,
                    )
            for i in range(n):
                norms[i] = softmax(scores[i, :n_heard], np.float32(width**-0.5))
            for column in range(0, width, panel):
                for i in range(0, n, most):
                    multiply(
                        number,
                        min(most, n - i),
                        scores.ctypes.data + i * n_padded * 4,
                        n_padded,
                        values + offset * n_frames + column * size,
                        width,
                        n_heard,
                        nothing,
                        totals.ctypes.data + (i * width + column) * 4,
                        width,
                    )
            for i in range(n):
                _finish(totals[i], norms[i], out[row + i, head])

    @kernel
    def past(arguments: Any) -> None:
        p = carray(arguments, (10,), np.int64)
        n_rows, n_heads, n_lines, n_ctx = p[6], p[7], p[8], p[9]
        qkv = carray(pointer(p[0]), (n_rows, 3, n_heads, width), number)
        said = carray(pointer(p[1]), (2, n_lines, n_ctx, n_heads, width), number)
        table = carray(pointer(p[2]), (n_lines, n_ctx), np.int32)
        lines = carray(pointer(p[3]), (n_rows,), np.int64)
        positions = carray(pointer(p[4]), (n_rows,), np.int64)
        out = carray(pointer(p[5]), (n_rows, n_heads, width), number)
        scores = np.empty(n_ctx, np.float32)
        first, last = share(n_rows * n_heads)
        for item in range(first, last):
            row, head = item // n_heads, item % n_heads
            line, position = lines[row], positions[row]
            for i in range(width):
                said[0, line, position, head, i] = qkv[row, 1, head, i]
                said[1, line, position, head, i] = qkv[row, 2, head, i]
            known = scores[: position + 1]
            for t in range(position + 1):
                known[t] = _dot(qkv[row, 0, head], said[0, table[line, t], t, head], width)
            norm = softmax(known, np.float32(width**-0.5))
            total = np.zeros(width, np.float32)
            for t in range(position + 1):
                _add(total, known[t], said[1, table[line, t], t, head], width)
            _finish(total, norm, out[row, head])

    return past, audio


@njit(**LOOP)
def _dot(a: Any, b: Any, n: int) -> Any:
    total = np.float32(0)
    for i in range(literally(n)):  # LLVM unrolls what it knows the length of
        total += load(a[i]) * load(b[i])
    return total


@njit(**LOOP)
def _add(total: Any, weight: Any, value: Any, n: int) -> None:
    for i in range(literally(n)):
        total[i] += weight * load(value[i])


@njit(**LOOP)
def _finish(total: Any, weights: Any, out: Any) -> None:
    norm = np.float32(1) / weights
    for i in range(len(total)):
        out[i] = store(total[i] * norm, out.dtype)


@njit(**LOOP)
def softmax(scores: Any, scale: Any) -> Any:
    """Exponentials in place; -> their sum."""
    highest = _highest(scores.view(np.int32))
    total = np.float32(0)
    for i in range(len(scores)):
        weight = _exp((scores[i] - highest) * scale)
        scores[i] = weight
        total += weight
    return total


@njit(**LOOP, inline="always")
def _highest(bits: Any) -> Any:
    """The highest float32 of these bits."""
    highest = np.int32(-(2**31))
    for i in range(len(bits)):
        highest = max(highest, in_order(bits[i]))
    return np.int32(in_order(highest)).view(np.float32)


@njit(**LOOP, inline="always")
def _exp(x: Any) -> Any:
    """exp(x), x <= 0, to a unit in the last place; Cephes' polynomial, so that LLVM vectorises."""
    x = max(x, np.float32(-87.0))
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    x -= n * np.float32(0.693359375)
    x -= n * np.float32(-2.12194440e-4)
    y = np.float32(1.9875691500e-4)
    y = y * x + np.float32(1.3981999507e-3)
    y = y * x + np.float32(8.3334519073e-3)
    y = y * x + np.float32(4.1665795894e-2)
    y = y * x + np.float32(1.6666665459e-1)
    y = y * x + np.float32(5.0000001201e-1)
    y = y * x * x + x + np.float32(1)
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
    return y * power.view(np.float32)
