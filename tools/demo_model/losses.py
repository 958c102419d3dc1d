"""What training minimises: the tokens, the words of every encoder frame, and where it listens."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tools.demo_model.batches import IGNORED, Batch
from tools.demo_model.network import Output
from tools.demo_model.script import vocabulary

# A timestamp a frame or two beside the true one is nearly right: the target is spread over five.
_TIME_SPREAD = ((-2, 0.08), (-1, 0.22), (0, 0.4), (1, 0.22), (2, 0.08))


@dataclass(frozen=True, slots=True)
class Losses:
    text: Tensor
    time: Tensor
    frames: Tensor
    previous: Tensor
    listening: Tensor
    place: Tensor

    def total(self) -> Tensor:
        """The weights keep the parts at one order of magnitude, and the text above all."""
        heard = self.frames + 0.3 * self.previous
        return self.text + 0.3 * self.time + heard + 0.3 * self.listening + 0.1 * self.place


def losses(output: Output, batch: Batch) -> Losses:
    log_probs = output.logits.log_softmax(dim=-1)
    n_text = vocabulary().n_text
    is_time = batch.targets >= n_text
    is_text = (batch.targets != IGNORED) & ~is_time
    return Losses(
        text=functional.nll_loss(log_probs[is_text], batch.targets[is_text]),
        time=_time_loss(log_probs[is_time], batch.targets[is_time], n_text),
        frames=functional.cross_entropy(output.frames.flatten(0, 1), batch.frames.flatten()),
        previous=_mean(
            functional.cross_entropy(
                output.previous.flatten(0, 1),
                batch.previous.flatten(),
                ignore_index=IGNORED,
                reduction="none",
            )[batch.previous.flatten() != IGNORED]
        ),
        # The last layer listens to the token to write, half of the one before it to the last one.
        listening=_listening_loss(output.attention[-1].float(), batch.spans),
        place=_listening_loss(output.attention[-2][:, :2, 1:].float(), batch.spans[:, :-1]),
    )


def _time_loss(log_probs: Tensor, targets: Tensor, first: int) -> Tensor:
    """log_probs [M, V] at the timestamps to be written, targets [M]"""
    last = log_probs.shape[-1] - 1
    spread = [
        weight * log_probs.gather(1, (targets + step).clamp(first, last)[:, None])
        for step, weight in _TIME_SPREAD
    ]
    return _mean(-torch.cat(spread, dim=1).sum(dim=1))


def _listening_loss(weights: Tensor, spans: Tensor) -> Tensor:
    """-log of the attention [B, H, T, N] that falls on the span [B, T, 2] of the token to write."""
    frame = torch.arange(weights.shape[-1], device=weights.device)
    inside = (frame >= spans[..., :1]) & (frame < spans[..., 1:])
    mass = (weights * inside[:, None]).sum(dim=-1)
    is_heard = (spans[..., 1] > spans[..., 0])[:, None].expand_as(mass)
    return _mean(-(mass[is_heard] + 1e-4).log())


def _mean(x: Tensor) -> Tensor:
    """Of no elements, 0: a batch may be silent."""
    return x.sum() / max(1, len(x))
