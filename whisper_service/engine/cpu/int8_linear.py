"""Projections in 8-bit integers on a CPU: half the bytes of bfloat16, twice its rate (VNNI).

Weights are rounded once, each output channel by its own scale; activations at every call, each row
by its own range, so that a row's result never depends on the rows beside it. The product is
oneDNN's. The scheme is that of LLM.int8() (arXiv:2208.07339, section 2.1) with zero points (after a
GELU nearly all is above zero, and half of a symmetric range would be empty) instead of outliers'
path; channels that are larger than others are made smaller before: see `smoothing_factors`.
"""

# mypy: disable-error-code="untyped-decorator"
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import carray
from torch import Tensor

from whisper_service.engine.cpu import openmp
from whisper_service.engine.cpu.kernel import in_order, kernel, load, pointer, store
from whisper_service.engine.cpu.openmp import share

_MIDDLE = 128
"""oneDNN's fast products subtract one zero point from the unsigned activations of all rows; a row's
difference from it is added afterwards."""
_WEIGHT_STEPS, _STEPS = 127, 255
_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class Int8Linear:
    """A projection whose matrix is int8 in oneDNN's own layout."""

    weight: Tensor
    scales: Tensor
    """float32 [n_out]."""
    zeros: Tensor
    """int32 [n_out], all 0."""
    bias: Tensor
    """float32 [n_out]."""

    sums: Tensor
    """float32 [n_out]: of each channel's rounded weights, times its scale."""

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        rounded, scale, zero = quantize_rows(rows)
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, _MIDDLE, self.weight, self.scales, self.zeros, None,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return self._to_scale(y, scale, zero, x.dtype).view(*x.shape[:-1], -1)

    def _to_scale(self, y: Tensor, scale: Tensor, zero: Tensor, dtype: torch.dtype) -> Tensor:
        """(y + (128 - zero) * sums) * scale + bias: in torch's steps four passes over memory."""
        if openmp.library() is None:
            y.addcmul_(_MIDDLE - zero, self.sums).mul_(scale)
            return y.add_(self.bias).to(dtype)
        out = torch.empty(y.shape, dtype=dtype)
        kernel = _scaling(dtype == torch.bfloat16)
        openmp.run(kernel, (y, scale, zero, self.sums, self.bias, out), tuple(y.shape))
        return out


def int8_linear(weight: Tensor, bias: Tensor | None) -> Int8Linear:
    """Round a matrix [n_out, n_in] of any float dtype."""
    exact = weight.float()
    scales = exact.abs().amax(1).clamp_(min=_SMALLEST) / _WEIGHT_STEPS
    rounded = (exact / scales[:, None]).round_()
    return Int8Linear(
        weight=torch.ops.onednn.qlinear_prepack(rounded.to(torch.int8), None),
        scales=scales,
        zeros=torch.zeros(len(scales), dtype=torch.int32),
        bias=torch.zeros(len(scales)) if bias is None else bias.float(),
        sums=rounded.sum(1) * scales,
    )


def smoothing_factors(norm_weight: Tensor, norm_bias: Tensor, weight: Tensor) -> Tensor:
    """Factors to divide each channel by between a layer norm and the matrix [n_out, n] after it.

    A row is rounded in steps of its largest number, and a norm's gains make some channels many
    times as large as others. Dividing them by float32 [n], and multiplying the matrix's columns by
    it, changes no product and shares the difference between both: SmoothQuant (arXiv:2211.10438,
    equation 4, alpha = 0.5), with a channel's largest number taken from the norm itself, which
    scales numbers of mean 0 and variance 1, rather than from a recording.
    """
    largest = 3 * norm_weight.float().abs() + norm_bias.float().abs()
    weights = weight.float().abs().amax(0)
    factors = (largest.clamp(min=1e-5) / weights.clamp(min=1e-5)).sqrt()
    return factors / factors.log().mean().exp()


def quantize_rows(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows [R, n], bfloat16 or float32 -> uint8 [R, n], scale and zero point float32 [R, 1].

    With torch's operations this would take as long as the product itself.
    """
    rows = rows.contiguous()
    if openmp.library() is None:
        lowest = rows.amin(-1, keepdim=True).float().clamp_(max=0)
        highest = rows.amax(-1, keepdim=True).float().clamp_(min=0)
        scale = (highest - lowest).clamp_(min=_SMALLEST) / _STEPS
        zero = (-lowest / scale).round_()
        return (rows / scale + zero).round_().clamp_(0, _STEPS).to(torch.uint8), scale, zero
    rounded = torch.empty(rows.shape, dtype=torch.uint8)
    scale, zero = torch.empty(len(rows), 1), torch.empty(len(rows), 1)
    kernel = _rounding(rows.dtype == torch.bfloat16)
    openmp.run(kernel, (rows, rounded, scale, zero), tuple(rows.shape))
    return rounded, scale, zero


@cache
def _rounding(is_bfloat16: bool) -> Any:
    """Compile `quantize_rows` for a number format."""
    number = np.uint16 if is_bfloat16 else np.uint32
    ordered = np.int16 if is_bfloat16 else np.int32

    @kernel
    def rounding(arguments: Any) -> None:
        p = carray(arguments, (6,), np.int64)
        n_rows, width = p[4], p[5]
        rows = carray(pointer(p[0]), (n_rows, width), number)
        rounded = carray(pointer(p[1]), (n_rows, width), np.uint8)
        scales = carray(pointer(p[2]), (n_rows,), np.float32)
        zeros = carray(pointer(p[3]), (n_rows,), np.float32)
        first, last = share(n_rows)
        for row in range(first, last):
            values, steps = rows[row], rounded[row]
            low, high = ordered(0), ordered(0)
            for i in range(width):
                low = min(low, in_order(values[i]))
                high = max(high, in_order(values[i]))
            lowest, highest = load(number(in_order(number(low)))), load(number(high))
            span = max(highest - lowest, np.float32(_SMALLEST))
            to_steps = np.float32(_STEPS) / span
            zero = np.floor(-lowest * to_steps + np.float32(0.5))
            scales[row] = span / np.float32(_STEPS)
            zeros[row] = zero
            for i in range(width):
                step = np.int32(load(values[i]) * to_steps + (zero + np.float32(0.5)))
                steps[i] = np.uint8(min(step, np.int32(_STEPS)))

    return rounding


@cache
def _scaling(is_bfloat16: bool) -> Any:
    """Compile `Int8Linear._to_scale` for a number format."""
    number = np.uint16 if is_bfloat16 else np.float32

    @kernel
    def scaling(arguments: Any) -> None:
        p = carray(arguments, (8,), np.int64)
        n_rows, width = p[6], p[7]
        products = carray(pointer(p[0]), (n_rows, width), np.float32)
        scales = carray(pointer(p[1]), (n_rows,), np.float32)
        zeros = carray(pointer(p[2]), (n_rows,), np.float32)
        sums = carray(pointer(p[3]), (width,), np.float32)
        bias = carray(pointer(p[4]), (width,), np.float32)
        out = carray(pointer(p[5]), (n_rows, width), number)
        first, last = share(n_rows)
        for row in range(first, last):
            scale, offset = scales[row], np.float32(_MIDDLE) - zeros[row]
            for i in range(width):
                value = (products[row, i] + offset * sums[i]) * scale + bias[i]
                out[row, i] = store(value, out.dtype)

    return scaling
