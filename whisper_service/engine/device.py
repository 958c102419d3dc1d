"""The device a model is on, and how numbers get there."""

from typing import Any, Literal

import torch
from torch import Tensor

Device = Literal["auto", "cpu", "cuda"]


def resolve_device(device: Device) -> torch.device:
    """`auto` is the GPU where torch sees one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def to_device(numbers: Any, device: torch.device) -> Tensor:
    """A (nested) list of ints as int64 tensor. Waits for nothing that the device is
    doing, as a copy from memory that is not pinned would."""
    tensor = torch.tensor(numbers, dtype=torch.int64)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
