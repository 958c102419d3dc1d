"""From the decoder's states to logits: the widest product of a step.

In bfloat16 a logit of 20 is rounded to an eighth, in int8 worse, and near the top that decides a
word. So in coarse arithmetic the logits that may win, and all timestamps, are taken again in
float32; the rest only counts in the sum of the softmax.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from whisper_service.engine.cpu import topk

_N_CLOSE = 8
"""Logits taken again: beam search with five beams asks for six."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """States float32 [R, n_state] -> logits float32 [R, V]."""

    project: Callable[[Tensor], Tensor]
    """[R, n_state] in `dtype` -> [R, V]."""
    dtype: torch.dtype
    embedding: Tensor
    """[V, n_state]: the matrix of `project`, by token, as the checkpoint has it."""
    times: Tensor | None
    """float32 [n_times, n_state]: its last rows, the timestamps'. None: `project` is exact."""

    def __call__(self, states: Tensor) -> Tensor:
        logits = self.project(states.to(self.dtype)).float()
        if self.times is not None:
            _, close = topk(logits, _N_CLOSE)
            near = self.embedding[close].float()
            logits.scatter_(1, close, torch.einsum("rkd,rd->rk", near, states))
            logits[:, -len(self.times) :] = states @ self.times.T
        return logits
