"""The training loop: a schedule of growing windows, two optimisers, checkpoints that resume."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from tools.demo_model.batches import Shape, make_batch
from tools.demo_model.losses import Losses, losses
from tools.demo_model.network import DemoNetwork
from tools.demo_model.scene import Sounds

_WARM_UP = 100  # steps
_COOL_DOWN = 0.45  # the last part of the steps, in which the learning rate falls to nothing
_MUON_RATE, _ADAM_RATE = 3e-3, 2e-3
_PARTS = tuple(field.name for field in fields(Losses))
_SAVE_EVERY, _REPORT_EVERY = 200, 50  # steps


@dataclass(frozen=True, slots=True)
class Stage:
    """Up to this part of all steps, the shapes of windows and how often each comes."""

    until: float
    shapes: tuple[tuple[Shape, float], ...]


_SHORT, _SECONDS_4 = Shape(32, 125, 3), Shape(24, 200, 4)
_SECONDS_8, _SECONDS_16 = Shape(12, 400, 7, is_banded=True), Shape(6, 800, 12, is_banded=True)
_SECONDS_30, _WHOLE = Shape(3, 1500, 22, is_banded=True), Shape(3, 1500, 22)
SCHEDULE = (
    Stage(0.22, ((_SHORT, 1.0),)),
    Stage(0.45, ((_SECONDS_4, 0.7), (_SECONDS_8, 0.15), (_SECONDS_30, 0.1), (_WHOLE, 0.05))),
    Stage(0.70, ((_SECONDS_4, 0.35), (_SECONDS_8, 0.25), (_SECONDS_30, 0.3), (_WHOLE, 0.1))),
    Stage(0.90, ((_SECONDS_8, 0.2), (_SECONDS_16, 0.1), (_SECONDS_30, 0.5), (_WHOLE, 0.2))),
    Stage(1.00, ((_SECONDS_30, 0.5), (_WHOLE, 0.5))),
)


@dataclass(slots=True)
class Training:
    """All that a resumed training needs besides the sounds."""

    network: DemoNetwork
    optimizers: list[Optimizer]
    rng: Generator
    n_steps: int
    device: torch.device
    step: int = 0
    seconds: float = 0.0
    recent: list[list[float]] = field(default_factory=list)

    @classmethod
    def begin(cls, seed: int, n_steps: int, device: torch.device) -> "Training":
        torch.manual_seed(seed)
        network = DemoNetwork().to(device)
        rng = np.random.default_rng(seed)
        return cls(network, _optimizers(network), rng, n_steps, device)

    def run(self, sounds: Sounds, path: Path, report: Callable[[str], None]) -> None:
        """Trains up to the last step; what `path` holds goes on, and it holds the end."""
        self._resume(path)
        while self.step < self.n_steps:
            began = time.monotonic()
            self.recent.append(self._step(sounds))
            self.seconds += time.monotonic() - began
            if self.step % _REPORT_EVERY == 0:
                report(self._progress())
                self.recent = []
            if self.step % _SAVE_EVERY == 0 or self.step == self.n_steps:
                self._save(path)

    def _step(self, sounds: Sounds) -> list[float]:
        shape = self._shape()
        batch = make_batch(self.rng, sounds, shape).to(self.device)
        rate = _rate(self.step / self.n_steps, self.step)
        output = self.network(
            batch.mel, batch.first_frames, batch.tokens, is_banded=shape.is_banded
        )
        found = losses(output, batch)
        found.total().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer, peak in zip(self.optimizers, (_MUON_RATE, _ADAM_RATE), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        return _values(found)

    def _shape(self) -> Shape:
        stage = next(s for s in SCHEDULE if self.step / self.n_steps < s.until)
        shapes, shares = zip(*stage.shapes, strict=True)
        return shapes[int(self.rng.choice(len(shapes), p=shares))]  # type: ignore[no-any-return]

    def _progress(self) -> str:
        means = dict(zip(_PARTS, np.mean(self.recent, axis=0), strict=True))
        left = self.seconds / self.step * (self.n_steps - self.step) / 60
        parts = "  ".join(f"{name} {mean:.3f}" for name, mean in means.items())
        minutes = f"{self.seconds / 60:.1f} min, {left:.0f} min left"
        return f"step {self.step}/{self.n_steps}  {parts}  {minutes}"

    def _save(self, path: Path) -> None:
        state = {
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "rng": self.rng.bit_generator.state,
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def _resume(self, path: Path) -> None:
        if not path.exists():
            return
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=False)
        self.network.load_state_dict(state["network"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.rng.bit_generator.state = state["rng"]
        self.step, self.seconds = state["step"], state["seconds"]


def _optimizers(network: DemoNetwork) -> list[Optimizer]:
    """Muon for the matrices of the blocks, AdamW for all else.

    https://kellerjordan.github.io/posts/muon/
    """
    matrices = [p for n, p in network.named_parameters() if p.ndim == 2 and ".blocks." in n]
    known = {id(p) for p in matrices}
    others = [p for p in network.parameters() if id(p) not in known]
    return [
        Muon(matrices, lr=0.0, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _rate(progress: float, step: int) -> float:
    return min(1.0, (step + 1) / _WARM_UP, (1.0 - progress) / _COOL_DOWN)


def _values(found: Losses) -> list[float]:
    return [float(getattr(found, part).detach()) for part in _PARTS]
