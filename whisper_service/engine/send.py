"""Numbers from the host to the device, without waiting for what the device is doing."""

from typing import Any

import torch
from torch import Tensor


def send(numbers: Any, device: torch.device) -> Tensor:
    """A (nested) list of ints as int64 tensor. A copy from memory that is not pinned would wait."""
    tensor = torch.tensor(numbers, dtype=torch.int64)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
