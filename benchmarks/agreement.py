"""Do coarse arithmetics say what float32 says? The share of windows whose words stay the same.

    python -m benchmarks.agreement --windows 400 --json FILE

The corpus is the bundled model's own: phrases in voices, speeds and pitches that its training
never met, in three languages, 1 to 30 s, two thirds of them under noise 10 to 40 dB below the
words, as in `tools.evaluate_demo_model`; with `--dense` all are full windows under noise of 10 to
20 dB. Needs `espeak-ng`. The windows are decoded greedily, by the same engine in each arithmetic;
with `--settle-ties` those whose words hung on too little again in float32, as the setting has it.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tools.demo_model.clips import LEVEL
from tools.demo_model.evaluation import noisy
from tools.demo_model.noise import noise
from tools.demo_model.words import LANGUAGES
from tools.speech import unseen_utterance
from whisper_service.engine.engine import load_engine
from whisper_service.engine.meter import NoMeter
from whisper_service.engine.precision import Dtype
from whisper_service.engine.scheduler import Scheduler
from whisper_service.types import WINDOW_SAMPLES, Audio, DecodeJob, DecodeOptions

ASSETS = Path(__file__).parents[1] / "whisper_service" / "assets"
_OPTIONS = DecodeOptions(temperatures=(0.0,))
_SEED = 21


def main() -> None:
    options = _options()
    exact: Dtype = "float32"
    coarse: list[Dtype] = options.dtypes
    decoders = {dtype: _Decoder(options, dtype) for dtype in (exact, *coarse)}
    same: dict[Dtype, int] = dict.fromkeys(coarse, 0)
    n_words = 0
    for number, audio in enumerate(_windows(options.windows, is_dense=options.dense), 1):
        words = {dtype: decoder.words(audio) for dtype, decoder in decoders.items()}
        n_words += len(words[exact])
        for dtype in coarse:
            same[dtype] += words[dtype] == words[exact]
            if words[dtype] != words[exact]:
                _say(f"window {number}, {dtype}: {_difference(words[exact], words[dtype])}")
    found: dict[str, Any] = {
        "model": options.model.stem,
        "is_dense": options.dense,
        "n_windows": options.windows,
        "n_words": n_words,
        "same": same,
        "share": {dtype: n / options.windows for dtype, n in same.items()},
        "settle_ties": options.settle_ties,
        "decoded_again": {dtype: decoders[dtype].n_ties / options.windows for dtype in coarse},
        "seconds": {dtype: decoder.seconds for dtype, decoder in decoders.items()},
        "processor": torch.cpu.get_capabilities().get("cpu_name", ""),
    }
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


class _Decoder(NoMeter):
    """An engine in one arithmetic, and how often it was not sure."""

    def __init__(self, options: argparse.Namespace, dtype: Dtype) -> None:
        self.n_ties = 0
        self.seconds = 0.0
        self._engine = load_engine(
            options.model.stem,
            options.model.parent,
            device="cpu",
            dtype=dtype,
            can_settle_ties=options.settle_ties,
        )
        self._scheduler = Scheduler(meter=self)

    def tied(self, model: str) -> None:
        """See `Meter`."""
        del model
        self.n_ties += 1

    def words(self, audio: Audio) -> list[str]:
        """What is said in a window."""
        began = time.perf_counter()
        answer = self._scheduler.submit(self._engine, DecodeJob(audio, _OPTIONS)).result()
        self.seconds += time.perf_counter() - began
        return "".join(segment.text for segment in answer.segments).split()


def _windows(n: int, *, is_dense: bool) -> Iterator[Audio]:
    rng = np.random.default_rng(_SEED)
    for number in range(n):
        language = LANGUAGES[number % len(LANGUAGES)]
        if is_dense:
            audio = unseen_utterance(rng, language, 30.0).audio
            level = LEVEL * 10 ** (-rng.uniform(10, 20) / 20)
            audio = audio + noise(rng, len(audio)) * np.float32(level)
        else:
            audio = noisy(rng, unseen_utterance(rng, language, rng.uniform(1, 30))).audio
        yield audio[:WINDOW_SAMPLES]


def _difference(exact: list[str], coarse: list[str]) -> str:
    at = next(
        (i for i, (a, b) in enumerate(zip(exact, coarse, strict=False)) if a != b),
        min(len(exact), len(coarse)),
    )
    ours, theirs = " ".join(exact[at : at + 3]), " ".join(coarse[at : at + 3])
    return f"word {at + 1} of {len(exact)}, {ours!r} became {theirs!r}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, default=ASSETS / "demo.pt", help="a checkpoint")
    parser.add_argument("--windows", type=int, default=400)
    parser.add_argument("--dtypes", type=lambda text: text.split(","), default=["bfloat16", "int8"])
    parser.add_argument("--settle-ties", action="store_true", help="as the setting")
    parser.add_argument("--dense", action="store_true", help="full windows, all under noise")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
