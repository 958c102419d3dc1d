"""What this machine can do, measured, and the least time a window can take on it."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from whisper.model import ModelDimensions

from whisper_service.engine.cpu import has_fast_bfloat16

_ARITHMETIC = ("avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
"""What a processor may have or not that decides which dtype is quick on it."""


@dataclass(frozen=True, slots=True)
class Machine:
    """All threads together."""

    bandwidth: float
    """Bytes read per second."""
    flops: dict[str, float]
    """Floating point operations per second of a big product, by dtype."""


def describe() -> dict[str, Any]:
    """What a figure of speed is worth nothing without."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    can = torch.cpu.get_capabilities()
    return {
        "machine": f"{os.cpu_count()} cores, {gpu}",
        "processor": can.get("cpu_name", platform.processor()),
        "arithmetic": [name for name in _ARITHMETIC if can.get(name)],
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def measure() -> Machine:
    """Take the best of a few tries of each; some seconds."""
    block = torch.ones(64 * 1024 * 1024)
    bandwidth = block.nbytes / _best(lambda: block.sum())
    flops = {}
    for dtype in (torch.float32, torch.bfloat16) if has_fast_bfloat16() else (torch.float32,):
        x, w = torch.randn(1500, 1536).to(dtype), torch.randn(1536, 1536).to(dtype)
        packed = torch.ops.mkldnn._reorder_linear_weight(w, 1500)

        def product(x: torch.Tensor = x, packed: torch.Tensor = packed) -> object:
            return torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")

        flops[str(dtype).removeprefix("torch.")] = 2 * 1500 * 1536 * 1536 / _best(product)
    return Machine(bandwidth, flops)


def floor_seconds(
    dims: ModelDimensions, machine: Machine, dtype: str, batch: int, n_tokens: float
) -> float:
    """Least seconds a window: every operation at the full rate, every byte read once a step.

    The arithmetic of the roofline model; no spectrogram, sampling or call costs anything in it.
    """
    d, layers, frames = dims.n_text_state, dims.n_text_layer, dims.n_audio_ctx
    rate, n_bytes = machine.flops[dtype], 4 if dtype == "float32" else 2
    n_bytes_of_weight = 2  # a checkpoint's float16
    conv = 2 * frames * 2 * dims.n_mels * d * 3 + frames * 2 * d * d * 3
    encoder = conv + dims.n_audio_layer * (24 * frames * d * d + 4 * frames * frames * d)
    listening = layers * 4 * frames * d * d
    weights = 14 * d * d * layers + dims.n_vocab * d
    past = 4 + n_tokens / 2
    read = weights * n_bytes_of_weight + batch * layers * 2 * (frames + past) * d * n_bytes
    work = batch * (2 * weights + layers * 4 * (frames + past) * d)
    step = max(read / machine.bandwidth, work / rate)
    return float((encoder + listening) / rate + n_tokens * step / batch)


def _best(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(10):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
