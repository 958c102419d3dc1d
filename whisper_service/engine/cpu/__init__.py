"""Hand-written CPU code, where torch's own is slow. Import from here alone.

The engine computes the same without any of it, in torch's operations, which is what a GPU does.
Each piece, and what it buys: docs/decisions/cpu-library.md. Refuses to know which tokens come next.
"""

from whisper_service.engine.cpu.decoder_attention import compiled_attention, key_panel
from whisper_service.engine.cpu.float16_linear import float16_linear, lossless_half
from whisper_service.engine.cpu.gemm import beats_torch
from whisper_service.engine.cpu.int8_linear import int8_linear, smoothing_factors
from whisper_service.engine.cpu.kernel import keep_compiled
from whisper_service.engine.cpu.processor import has_avx512, has_fast_bfloat16, has_vnni
from whisper_service.engine.cpu.topk import topk

__all__ = [
    "beats_torch",
    "compiled_attention",
    "float16_linear",
    "has_avx512",
    "has_fast_bfloat16",
    "has_vnni",
    "int8_linear",
    "keep_compiled",
    "key_panel",
    "lossless_half",
    "smoothing_factors",
    "topk",
]
