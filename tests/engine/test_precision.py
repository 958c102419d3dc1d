"""Which arithmetic a processor gets."""

import pytest
import torch

from whisper_service.engine.precision import resolve_precision

CPU = torch.device("cpu")

needs_vnni = pytest.mark.skipif(
    not torch.cpu.get_capabilities().get("avx512_vnni"), reason="this processor has no AVX512_VNNI"
)


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
