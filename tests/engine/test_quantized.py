"""Projections in 8-bit integers: near the exact ones, and each row for itself."""

import pytest
import torch

from whisper_service.engine import compiled
from whisper_service.engine.precision import resolve_precision
from whisper_service.engine.quantized import balance, quantized, rounded_rows

CPU = torch.device("cpu")

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
        monkeypatch.setattr(compiled, "openmp", lambda: None)
    x = torch.nn.functional.gelu(rows(50)).to(dtype) if is_lopsided else rows(50, dtype)
    rounded, scale, zero = rounded_rows(x)
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
    linear, x = quantized(torch.randn(64, 384), torch.randn(64)), rows(20, dtype)
    fast = linear(x)
    monkeypatch.setattr(compiled, "openmp", lambda: None)
    slow = linear(x)
    assert fast.dtype == slow.dtype == dtype
    error = (fast.float() - slow.float()).norm(dim=1) / slow.float().norm(dim=1)
    assert error.max() < 0.02


def test_balanced_channels_change_no_product_and_are_of_like_size() -> None:
    generator = torch.Generator().manual_seed(4)
    gains, shifts = torch.logspace(-2, 2, 384), torch.randn(384, generator=generator)
    weight = torch.randn(64, 384, generator=generator)
    factors = balance(gains, shifts, weight)
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
    error = (quantized(weight, bias)(x) - exact).norm(dim=1) / exact.norm(dim=1)
    assert error.max() < 0.015


@needs_vnni
def test_a_row_comes_out_the_same_in_any_company() -> None:
    weight = torch.randn(512, 384, generator=torch.Generator().manual_seed(3))
    linear = quantized(weight, None)
    x = rows(9)
    together = linear(x)
    for row in range(len(x)):
        assert torch.equal(linear(x[row : row + 1])[0], together[row])


def test_int8_is_refused_where_it_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="float16 or bfloat16"):
        resolve_precision("int8", torch.device("cuda"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": False})
    with pytest.raises(ValueError, match="AVX512_VNNI"):
        resolve_precision("int8", CPU)


@needs_vnni
def test_int8_says_that_its_logits_are_coarse() -> None:
    assert resolve_precision("int8", CPU).is_coarse
    assert not resolve_precision("float32", CPU).is_coarse


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16),
     ({"avx512_bf16": False}, torch.float32), ({}, torch.float32)],
)  # fmt: skip
def test_auto_is_bfloat16_where_the_processor_multiplies_it(
    capabilities: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_precision("auto", CPU).dtype == expected


@needs_vnni
def test_bfloat16_finds_its_candidates_in_8_bits_and_weighs_them_exactly() -> None:
    precision = resolve_precision("bfloat16", CPU)
    assert precision.has_rough_vocabulary
    assert not precision.is_quantized
    assert not resolve_precision("float32", CPU).has_rough_vocabulary
