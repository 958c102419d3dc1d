"""How a model computes: its dtype, and whether its matrices are 8-bit integers."""

from dataclasses import dataclass
from typing import Literal

import torch

from whisper_service.engine.cpu import has_fast_bfloat16, has_vnni

Dtype = Literal["auto", "float32", "float16", "bfloat16", "int8"]


@dataclass(frozen=True, slots=True)
class Precision:
    """`dtype` is that of activations, keys and values."""

    dtype: torch.dtype
    is_quantized: bool = False
    has_rough_vocabulary: bool = False
    """Whether the product with the vocabulary is in 8-bit integers. It only selects the logits that
    are then computed again in float32 (`Vocabulary`)."""

    @property
    def is_coarse(self) -> bool:
        """Whether a logit of 20 is told from 20.05: bfloat16 has 8 bits, int8 as good as 7."""
        return self.is_quantized or self.dtype == torch.bfloat16


EXACT = Precision(torch.float32)


def resolve_precision(dtype: Dtype, device: torch.device) -> Precision:
    """`auto` is openai-whisper's choice, float16 on a GPU and float32 on a CPU, but bfloat16 on a
    CPU that multiplies it itself: twice as fast, at the same word error rate.

    Raises ValueError with the reason if the processor cannot do what is asked for.
    """
    if dtype == "int8":
        return _int8(device)
    if dtype == "auto":
        on_cpu: Dtype = "bfloat16" if has_fast_bfloat16() else "float32"
        dtype = on_cpu if device.type == "cpu" else "float16"
    resolved = getattr(torch, dtype)
    assert isinstance(resolved, torch.dtype)
    is_rough = device.type == "cpu" and resolved == torch.bfloat16 and has_vnni()
    return Precision(resolved, has_rough_vocabulary=is_rough)


def _int8(device: torch.device) -> Precision:
    if device.type != "cpu":
        raise ValueError("int8 is for CPUs; a GPU computes in float16 or bfloat16")
    if not has_vnni():
        # Without VNNI two products of 8 bits are summed in 16 and may not fit.
        raise ValueError("int8 needs a processor with AVX512_VNNI; float32 runs on any")
    dtype = torch.bfloat16 if has_fast_bfloat16() else torch.float32
    return Precision(dtype, is_quantized=True, has_rough_vocabulary=True)
