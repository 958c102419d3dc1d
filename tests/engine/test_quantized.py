"""Projections in 8-bit integers: near the exact ones, and each row for itself."""

import pytest
import torch

from whisper_service.engine import compiled
from whisper_service.engine.precision import resolve_precision
from whisper_service.engine.quantized import quantized, rounded_rows

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
def test_a_row_is_rounded_to_255_steps_of_its_own(
    dtype: torch.dtype, is_compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_compiled:
        monkeypatch.setattr(compiled, "openmp", lambda: None)
    x = rows(50, dtype)
    rounded, scale = rounded_rows(x)
    assert rounded.dtype == torch.uint8
    error = ((rounded.float() - 128) * scale - x.float()).abs()
    # Half a step, and what bfloat16 rounds by where torch does it.
    assert (error <= scale * (0.51 if is_compiled else 1.0)).all()
    assert (rounded[0] == 128).all()


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
