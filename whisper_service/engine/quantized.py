"""Projections in 8-bit integers on a CPU: half the bytes of bfloat16, twice its rate (VNNI).

Weights are rounded once, each output channel by its own scale; activations at every call, each row
by its own, so that a row's result never depends on the rows beside it. The product is oneDNN's.
The scheme is that of LLM.int8() (arXiv:2208.07339, section 2.1) without its outliers' path.
"""

# mypy: disable-error-code="untyped-decorator"
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import carray, cfunc
from torch import Tensor

from whisper_service.engine import compiled
from whisper_service.engine.compiled import LOOP, SIGNATURE, pointer

_MIDDLE, _RANGE = 128, 127
"""oneDNN's fast products take unsigned activations: zero is 128."""
_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class Quantized:
    """A projection whose matrix is int8 in oneDNN's own layout."""

    weight: Tensor
    scales: Tensor
    """float32 [n_out]."""
    zeros: Tensor
    """int32 [n_out], all 0."""
    bias: Tensor | None
    """float32 [n_out]."""

    def __call__(self, x: Tensor) -> Tensor:
        rounded, scale = rounded_rows(x.reshape(-1, x.shape[-1]))
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, _MIDDLE, self.weight, self.scales, self.zeros, None,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        y.mul_(scale)
        if self.bias is not None:
            y.add_(self.bias)
        return y.view(*x.shape[:-1], -1).to(x.dtype)


def quantized(weight: Tensor, bias: Tensor | None) -> Quantized:
    """Round a matrix [n_out, n_in] of any float dtype."""
    exact = weight.float()
    scales = exact.abs().amax(1).clamp_(min=_SMALLEST) / _RANGE
    rounded = (exact / scales[:, None]).round_().to(torch.int8)
    return Quantized(
        weight=torch.ops.onednn.qlinear_prepack(rounded, None),
        scales=scales,
        zeros=torch.zeros(len(scales), dtype=torch.int32),
        bias=None if bias is None else bias.float(),
    )


def rounded_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [R, n], bfloat16 or float32 -> uint8 [R, n], their scales float32 [R, 1].

    In torch's steps 1,500 rows of 1,536 take as long as the product with 384 channels.
    """
    if compiled.openmp() is None:
        scale = rows.abs().amax(-1, keepdim=True).float().clamp_(min=_SMALLEST) / _RANGE
        return (rows / scale).round_().add_(_MIDDLE).to(torch.uint8), scale
    rounded = torch.empty(rows.shape, dtype=torch.uint8)
    scale = torch.empty(len(rows), 1)
    kernel = _rounding(rows.dtype == torch.bfloat16)
    compiled.run(kernel, (rows.contiguous(), rounded, scale), tuple(rows.shape))
    return rounded, scale


@cache
def _rounding(is_bfloat16: bool) -> Any:
    """Compile `rounded_rows` for a number format."""
    number = np.uint16 if is_bfloat16 else np.uint32
    without_sign = number(0x7FFF if is_bfloat16 else 0x7FFFFFFF)
    load = compiled.load_bfloat16 if is_bfloat16 else compiled.load_float32
    share = compiled.share()

    @cfunc(SIGNATURE, **LOOP)
    def rounding(arguments: Any) -> None:
        p = carray(arguments, (5,), np.int64)
        n_rows, width = p[3], p[4]
        rows = carray(pointer(p[0]), (n_rows, width), number)
        rounded = carray(pointer(p[1]), (n_rows, width), np.uint8)
        scales = carray(pointer(p[2]), (n_rows,), np.float32)
        first, last = share(n_rows)
        for row in range(first, last):
            values, steps = rows[row], rounded[row]
            bits = number(0)  # of sizes, in their order; LLVM finds the largest of integers faster
            for i in range(width):
                bits = max(bits, number(values[i] & without_sign))
            largest = max(load(bits), np.float32(_SMALLEST))
            scales[row] = largest / np.float32(_RANGE)
            to_steps = np.float32(_RANGE) / largest
            for i in range(width):
                steps[i] = np.uint8(
                    np.int32(load(values[i]) * to_steps + np.float32(_MIDDLE + 0.5))
                )

    return rounding
