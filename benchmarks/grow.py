"""Grows the demo checkpoint to a real model's dimensions; it computes the same function.

    python -m benchmarks.grow small

So speed is measured on true sizes, with real words in the answers and no download. The copy is
written as demo-small.pt into the model folder, where the service finds it as `demo-small`.

From width S to c S: every state is repeated c times, so every matrix is
tiled, and divided by c on its input side. Heads get 64 lanes as in every Whisper: an old head's
lanes are repeated, with the query scaled so that the scores stay equal, and where old heads are
copied, their outputs are shared out. Extra layers go in front, with output projections of zero. The
last layer norm is divided by c, so that the tied logits stay equal.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DEMO = Path(__file__).parents[1] / "whisper_service" / "assets" / "demo.pt"
HEAD_WIDTH = 64

State = dict[str, Tensor]
Dimensions = dict[str, int]


@dataclass(frozen=True, slots=True)
class Size:
    width: int
    n_encoder_layers: int
    n_decoder_layers: int


# https://github.com/openai/whisper/blob/main/model-card.md; all with the demo model's 80 mel bands.
SIZES = {
    "tiny": Size(384, 4, 4),
    "base": Size(512, 6, 6),
    "small": Size(768, 12, 12),
    "medium": Size(1024, 24, 24),
    "large": Size(1280, 32, 32),
    "turbo": Size(1280, 32, 4),
}


class Growth:
    """What is true of every matrix of one grown model."""

    def __init__(self, dims: Dimensions, size: Size) -> None:
        old_width, self.n_heads = dims["n_text_state"], dims["n_text_head"]
        if size.width % old_width:
            raise ValueError(f"width {size.width} is no multiple of {old_width}")
        self.times = size.width // old_width
        old_lanes = old_width // self.n_heads
        copies = Counter(head % self.n_heads for head in range(size.width // HEAD_WIDTH))
        self.lanes = torch.tensor(
            [
                head % self.n_heads * old_lanes + lane % old_lanes
                for head in range(size.width // HEAD_WIDTH)
                for lane in range(HEAD_WIDTH)
            ]
        )
        repeats = HEAD_WIDTH // old_lanes
        self.shares = torch.tensor(
            [1 / (copies[int(lane) // old_lanes] * repeats) for lane in self.lanes]
        )
        self.query_scale = repeats**-0.5

    def tiled(self, x: Tensor) -> Tensor:
        """A state, or anything added to one or multiplied with one: its last axis c times."""
        return x.repeat(*[1] * (x.ndim - 1), self.times)

    def widened(self, name: str, x: Tensor) -> Tensor:
        """The tensor of that name in the grown model."""
        layer = name.rsplit(".", 2)[-2]
        if layer in ("query", "key", "value"):
            return self._into_heads(name, x)
        if layer == "out" and name.endswith("weight"):
            return self.tiled((x[:, self.lanes] * self.shares).T).T
        if layer == "conv1" and name.endswith("weight"):
            return x.repeat(self.times, 1, 1)
        if layer in ("ln", "ln_post") or "embedding" in name or x.ndim == 1:
            return self.tiled(x) / (self.times if name.startswith("decoder.ln.") else 1)
        return x.repeat(self.times, self.times, *[1] * (x.ndim - 2)) / self.times

    def _into_heads(self, name: str, x: Tensor) -> Tensor:
        scaled = x * self.query_scale if ".query." in name else x
        rows = scaled[self.lanes]
        return rows if x.ndim == 1 else self.tiled(rows) / self.times


def grow(checkpoint: dict[str, Any], size: Size) -> dict[str, Any]:
    """The checkpoint at that size, in float32."""
    dims, state = checkpoint["dims"], checkpoint["model_state_dict"]
    growth = Growth(dims, size)
    grown = {name: growth.widened(name, x.float()) for name, x in _deepened(state, dims, size)}
    return {"dims": _grown_dims(dims, size), "model_state_dict": grown}


def _deepened(state: State, dims: Dimensions, size: Size) -> Iterator[tuple[str, Tensor]]:
    """All tensors under their new names; the first layer again, silenced, for every extra one."""
    extra = {
        "encoder": size.n_encoder_layers - dims["n_audio_layer"],
        "decoder": size.n_decoder_layers - dims["n_text_layer"],
    }
    for name, x in state.items():
        part, *rest = name.split(".")
        if rest[0] != "blocks":
            yield name, x
            continue
        layer, inner = int(rest[1]), ".".join(rest[2:])
        yield f"{part}.blocks.{layer + extra[part]}.{inner}", x
        if layer == 0:
            for i in range(extra[part]):
                yield f"{part}.blocks.{i}.{inner}", _silenced(inner, x)


def _silenced(inner: str, x: Tensor) -> Tensor:
    is_output = ".out." in inner or inner.startswith("mlp.2.")
    return torch.zeros_like(x) if is_output else x


def _grown_dims(dims: Dimensions, size: Size) -> Dimensions:
    return {
        **dims,
        "n_audio_state": size.width,
        "n_audio_head": size.width // HEAD_WIDTH,
        "n_audio_layer": size.n_encoder_layers,
        "n_text_state": size.width,
        "n_text_head": size.width // HEAD_WIDTH,
        "n_text_layer": size.n_decoder_layers,
    }


def model_folder() -> Path:
    return Path(os.environ.get("WHISPER_MODEL_DIR", "~/.cache/whisper-streaming")).expanduser()


def grown_checkpoint(size: str, folder: Path, demo: Path = DEMO) -> Path:
    """The path of `demo` in that size; written now, unless it is there and no older than `demo`."""
    target = folder / f"demo-{size}.pt"
    if target.exists() and target.stat().st_mtime >= demo.stat().st_mtime:
        _report(f"{target} is there already")
        return target
    _report(f"growing {demo} to the size of {size}")
    grown = grow(torch.load(demo, map_location="cpu"), SIZES[size])
    state = {name: x.half() for name, x in grown["model_state_dict"].items()}
    _report(f"writing {sum(x.numel() for x in state.values()) / 1e6:.0f} million numbers")
    _write({"dims": grown["dims"], "model_state_dict": state}, target)
    _report(f"wrote {target}, {target.stat().st_size / 1e6:.0f} MB")
    return target


def main() -> None:
    options = _options()
    grown_checkpoint(options.size, options.folder, options.demo)


def _write(checkpoint: dict[str, Any], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    torch.save(checkpoint, partial)
    partial.replace(target)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--demo", type=Path, default=DEMO, help="the checkpoint (%(default)s)")
    parser.add_argument(
        "--folder",
        type=Path,
        default=model_folder(),
        help="where it is written: WHISPER_MODEL_DIR, or %(default)s",
    )
    return parser.parse_args()


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
