"""Which instructions this processor has. The names are those of Linux's /proc/cpuinfo."""

import torch


def has_vnni() -> bool:
    """Whether this processor multiplies 8-bit integers four at a time."""
    return bool(torch.cpu.get_capabilities().get("avx512_vnni"))


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself (AVX512_BF16, AMX), so that it pays."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def has_avx512() -> bool:
    """Whether this processor has registers of 16 float32 numbers."""
    return bool(torch.cpu.get_capabilities().get("avx512_f"))
