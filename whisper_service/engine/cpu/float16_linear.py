"""Projections in float32 over a matrix kept in float16, the format of OpenAI's checkpoints.

Nothing is rounded: a float16 becomes the same number in float32 while it is read, and a decode
step, which reads every matrix for a few rows, reads half the bytes. A matrix that float16 cannot
represent is kept in float32. A row's result is the same to the last bit whichever rows are beside
it. torch's own product is MKL's, which is slow with few rows on processors of other makers.
"""

# mypy: disable-error-code="untyped-decorator"
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numba import carray
from torch import Tensor

from whisper_service.engine.cpu import openmp
from whisper_service.engine.cpu.gemm import most_rows, multiply, panel_width
from whisper_service.engine.cpu.kernel import kernel, pointer
from whisper_service.engine.cpu.openmp import share


@dataclass(frozen=True, slots=True)
class Float16Linear:
    """A projection [n_in] -> [n_out] of float32 rows."""

    panels: Tensor
    """float16 or float32 [n_panels, n_in, panel_width()], padded with zero columns."""
    bias: Tensor
    """float32 [n_panels * panel_width()]."""
    n_out: int

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        out = torch.empty(len(rows), self.n_out)
        openmp.run(
            _kernel(self.panels.dtype),
            (rows, self.panels, self.bias, out),
            (len(rows), rows.shape[1], self.n_out),
        )
        return out.view(*x.shape[:-1], self.n_out)


def float16_linear(weight: Tensor, bias: Tensor | None) -> Float16Linear:
    """Lay out a float matrix [n_out, n_in]."""
    n_out, n_in = weight.shape
    missing = -n_out % panel_width()
    padded = F.pad(lossless_half(weight), (0, 0, 0, missing))
    panels = padded.view(-1, panel_width(), n_in).transpose(1, 2).contiguous()
    shifts = torch.zeros(n_out) if bias is None else bias.float()
    return Float16Linear(panels, F.pad(shifts, (0, missing)), n_out)


def lossless_half(weight: Tensor) -> Tensor:
    """`weight` in float16 where that holds the same numbers, else in float32."""
    half = weight.half()
    return half if torch.equal(half.float(), weight.float()) else weight.float()


@cache
def _kernel(dtype: torch.dtype) -> Any:
    width, most = panel_width(), most_rows()
    number = np.float16 if dtype == torch.float16 else np.float32
    size = np.int64(dtype.itemsize)

    @kernel
    def project(arguments: Any) -> None:
        p = carray(arguments, (7,), np.int64)
        x, panels, biases, out, n_rows, n_in, n_out = p[0], p[1], p[2], p[3], p[4], p[5], p[6]
        results = carray(pointer(out), (n_rows, n_out), np.float32)
        edge = np.empty((most, width), np.float32)
        first, last = share((n_out + width - 1) // width)
        for panel in range(first, last):
            column = panel * width
            weights, bias = panels + column * n_in * size, biases + column * 4
            n_columns = min(width, n_out - column)
            row = 0
            while row < n_rows:
                n = min(most, n_rows - row)
                is_whole = n_columns == width
                target = out + (row * n_out + column) * 4 if is_whole else edge.ctypes.data
                stride = n_out if is_whole else width
                multiply(
                    number, n, x + row * n_in * 4, n_in, weights, width, n_in, bias, target, stride
                )
                if not is_whole:
                    for i in range(n):
                        for j in range(n_columns):
                            results[row + i, column + j] = edge[i, j]
                row += n

    return project
