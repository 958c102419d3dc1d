"""Makes the bundled `demo` checkpoint: its data, its training, its evaluation and its model card.

    python -m tools.train_demo_model --digits FOLDER

FOLDER, optional, holds recordings of spoken digits, DIGIT_SPEAKER_N.wav, as in
https://github.com/Jakobovski/free-spoken-digit-dataset. The rest is made by espeak-ng, which must
be installed. An interrupted run goes on where it was: run the same command again.
"""

import argparse
import sys
from pathlib import Path

import torch

from tools.demo_model.card import write_card, write_json
from tools.demo_model.checkpoint import save
from tools.demo_model.evaluation import Sizes, evaluate, table
from tools.demo_model.sounds import training_sounds
from tools.demo_model.training import Training

ASSET = Path("whisper_service/assets/demo.pt")
_N_STEPS = 7800


def main() -> None:
    options = _options()
    options.work.mkdir(parents=True, exist_ok=True)
    sounds = training_sounds(options.seed, options.digits, options.work / "sounds.pkl", _report)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training = Training.begin(options.seed, options.steps, device)
    training.run(sounds, options.work / "training.pt", _report)
    save(training.network, options.out)
    _report(f"wrote {options.out}, {options.out.stat().st_size} bytes")
    figures = evaluate(options.out, options.digits, Sizes(), _report)
    write_json(figures, options.work / "figures.json")
    write_card(figures)
    print(table(figures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--digits", type=Path, help="recordings named DIGIT_SPEAKER_N.wav")
    parser.add_argument("--out", type=Path, default=ASSET, help="the checkpoint (%(default)s)")
    parser.add_argument("--work", type=Path, default=Path(".cache/demo-model"),
                        help="data and unfinished training (%(default)s)")  # fmt: skip
    parser.add_argument("--steps", type=int, default=_N_STEPS, help="of training (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of data and training (%(default)s)")
    return parser.parse_args()


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
