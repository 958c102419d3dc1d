"""Projections in 8-bit integers: near the exact ones, and each row for itself."""

import pytest
import torch

from whisper_service.engine.cpu import int8_linear, openmp, smoothing_factors
from whisper_service.engine.cpu.int8_linear import quantize_rows

needs_vnni = pytest.mark.skipif(
    not torch.cpu.get_capabilities().get("avx512_vnni"), reason="this processor has no AVX512_VNNI"
)


def rows(n_rows: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Rows of very different sizes, as activations are; one of zeros."""
    x = torch.randn(n_rows, 384, generator=torch.Generator().manual_seed(1))
    x *= torch.logspace(-3, 2, n_rows)[:, None]
    x[0] = 0
    return x.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize("is_lopsided", [True, False])
def test_a_row_is_rounded_to_255_steps_of_its_own(
    dtype: torch.dtype, is_compiled: bool, is_lopsided: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_compiled:
        monkeypatch.setattr(openmp, "library", lambda: None)
    x = torch.nn.functional.gelu(rows(50)).to(dtype) if is_lopsided else rows(50, dtype)
    rounded, scale, zero = quantize_rows(x)
    error = ((rounded.float() - zero) * scale - x.float()).abs()
    # Half a step, once more at the ends of the range, and what bfloat16 rounds by where torch does.
    assert (error <= scale * (1.01 if is_compiled else 2.0)).all()
    span = x.float().amax(1).clamp(min=0) - x.float().amin(1).clamp(max=0)
    assert torch.allclose(scale[1:, 0], span[1:] / 255, rtol=0.01)
    assert ((rounded.float() - zero)[0] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_compiled_steps_are_the_plain_ones(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    linear, x = int8_linear(torch.randn(64, 384), torch.randn(64)), rows(20, dtype)
    fast = linear(x)
    monkeypatch.setattr(openmp, "library", lambda: None)
    slow = linear(x)
    assert fast.dtype == slow.dtype == dtype
    error = (fast.float() - slow.float()).norm(dim=1) / slow.float().norm(dim=1)
    assert error.max() < 0.02


def test_balanced_channels_change_no_product_and_are_of_like_size() -> None:
    generator = torch.Generator().manual_seed(4)
    gains, shifts = torch.logspace(-2, 2, 384), torch.randn(384, generator=generator)
    weight = torch.randn(64, 384, generator=generator)
    factors = smoothing_factors(gains, shifts, weight)
    x = torch.randn(30, 384, generator=generator) * gains + shifts
    assert torch.allclose((x / factors) @ (weight * factors).T, x @ weight.T, rtol=1e-3, atol=0.05)
    sizes = (x / factors).abs().amax(0)
    assert sizes.max() / sizes.min() < (x.abs().amax(0).max() / x.abs().amax(0).min()) ** 0.6


@needs_vnni
def test_a_product_is_within_a_percent_of_the_exact_one() -> None:
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(1536, 384, generator=generator)
    bias = torch.randn(1536, generator=generator)
    x = rows(40)
    exact = x @ weight.T + bias
    error = (int8_linear(weight, bias)(x) - exact).norm(dim=1) / exact.norm(dim=1)
    assert error.max() < 0.015


@needs_vnni
def test_a_row_comes_out_the_same_whatever_is_beside_it() -> None:
    weight = torch.randn(512, 384, generator=torch.Generator().manual_seed(3))
    linear = int8_linear(weight, None)
    x = rows(9)
    together = linear(x)
    for row in range(len(x)):
        assert torch.equal(linear(x[row : row + 1])[0], together[row])
