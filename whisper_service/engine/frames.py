"""Attention of the encoder's frames over each other, float32, on a CPU without AVX512.

As FlashAttention (arXiv:2205.14135) no score leaves the caches: some queries at a time against all
keys of their head, then the softmax, then the values. torch's own does the same with MKL's
products, which are slow on such processors.
"""

# mypy: disable-error-code="untyped-decorator"
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import carray, cfunc
from torch import Tensor

from whisper_service.engine import compiled
from whisper_service.engine.compiled import LOOP, SIGNATURE, pointer
from whisper_service.engine.kernels import softmax
from whisper_service.engine.tile import beats_torch, most_rows, panel_width, tile

_BLOCK = 48
"""Queries at a time: their scores, 288 kB, stay in a core's second cache."""
_CHUNK = 96
"""Frames' values at a time, 12 kB: they stay in its first."""


def is_faster(qkv: Tensor, n_heads: int) -> bool:
    """Whether this loop can attend to qkv [..., 3 * n_state], and beats torch's: in 31 ms instead
    of 37 for tiny's 1,500 frames on two AMD cores without AVX512."""
    is_whole = qkv.shape[-1] // 3 // n_heads % panel_width() == 0
    is_ours = qkv.device.type == "cpu" and qkv.dtype == torch.float32
    return is_ours and is_whole and beats_torch(has_many_rows=True)


def attend_frames(qkv: Tensor, n_heads: int) -> Tensor:
    """qkv float32 [T, 3 * n_state] -> [T, n_state], where `is_faster` says so."""
    n_frames, n_state = len(qkv), qkv.shape[1] // 3
    width = panel_width()
    n_panels = -(-n_frames // width)
    depth = n_state // n_heads
    keys = torch.empty(n_heads, n_panels, depth, width)
    values = torch.empty(n_heads, depth // width, n_frames, width)
    out = torch.empty(n_frames, n_state)
    sizes = (n_frames, n_heads, depth)
    compiled.run(_packing(), (qkv, keys, values), sizes)
    compiled.run(_attending(), (qkv, keys, values, torch.zeros(width), out), sizes)
    return out


@cache
def _packing() -> Any:
    """Compile what lays keys and values out in panels."""
    width = panel_width()
    share = compiled.share()

    @cfunc(SIGNATURE, **LOOP)
    def pack(arguments: Any) -> None:
        p = carray(arguments, (6,), np.int64)
        n_frames, n_heads, depth = p[3], p[4], p[5]
        n_panels = (n_frames + width - 1) // width
        qkv = carray(pointer(p[0]), (n_frames, 3, n_heads, depth), np.float32)
        keys = carray(pointer(p[1]), (n_heads, n_panels, depth, width), np.float32)
        values = carray(pointer(p[2]), (n_heads, depth // width, n_frames, width), np.float32)
        first, last = share(n_heads * n_panels)
        for item in range(first, last):
            head, panel = item // n_panels, item % n_panels
            start = panel * width
            n = min(width, n_frames - start)
            for j in range(n):
                for i in range(depth):
                    keys[head, panel, i, j] = qkv[start + j, 1, head, i]
            for i in range(depth):
                for j in range(n, width):
                    keys[head, panel, i, j] = 0
            for j in range(n):
                for i in range(depth):
                    values[head, i // width, start + j, i % width] = qkv[start + j, 2, head, i]

    return pack


@cache
def _attending() -> Any:
    """Compile a block of queries after another."""
    width, most, block, chunk = panel_width(), most_rows(), _BLOCK, _CHUNK
    share = compiled.share()
    multiply = tile(False)

    @cfunc(SIGNATURE, **LOOP)
    def attend(arguments: Any) -> None:
        p = carray(arguments, (8,), np.int64)
        qkv, keys, values, zeros = p[0], p[1], p[2], p[3]
        n_frames, n_heads, depth = p[5], p[6], p[7]
        n_state = n_heads * depth
        n_panels = (n_frames + width - 1) // width
        out = carray(pointer(p[4]), (n_frames, n_state), np.float32)
        scores = np.empty((block, n_panels * width), np.float32)
        at = scores.ctypes.data
        n_blocks = (n_frames + block - 1) // block
        scale = np.float32(1.0 / np.sqrt(np.float32(depth)))
        norms = np.empty(block, np.float32)
        first, last = share(n_heads * n_blocks)
        for item in range(first, last):
            head, start = item // n_blocks, (item % n_blocks) * block
            n_rows = min(block, n_frames - start)
            query = qkv + (start * 3 * n_state + head * depth) * 4
            for panel in range(n_panels):
                key = keys + (head * n_panels + panel) * depth * width * 4
                for row in range(0, n_rows, most):
                    multiply(
                        min(most, n_rows - row),
                        query + row * 3 * n_state * 4,
                        3 * n_state,
                        key,
                        depth,
                        zeros,
                        0,
                        at + (row * n_panels + panel) * width * 4,
                        n_panels * width,
                    )
            for row in range(n_rows):
                norms[row] = softmax(scores[row, :n_frames], scale)
            for panel in range(depth // width):
                value = values + (head * (depth // width) + panel) * n_frames * width * 4
                target = p[4] + (start * n_state + head * depth + panel * width) * 4
                for frame in range(0, n_frames, chunk):
                    for row in range(0, n_rows, most):
                        rows = target + row * n_state * 4
                        multiply(
                            min(most, n_rows - row),
                            at + (row * n_panels * width + frame) * 4,
                            n_panels * width,
                            value + frame * width * 4,
                            min(chunk, n_frames - frame),
                            rows if frame else zeros,
                            n_state if frame else 0,
                            rows,
                            n_state,
                        )
            for row in range(n_rows):
                for i in range(depth):
                    out[start + row, head * depth + i] /= norms[row]

    return attend
