"""Measures the demo checkpoint on what training never met; prints a table, and JSON on request.

python -m tools.evaluate_demo_model --digits FOLDER --json figures.json
"""

import argparse
import sys
from pathlib import Path

from tools.demo_model.card import write_card, write_json
from tools.demo_model.evaluation import Sizes, evaluate, table

ASSET = Path("whisper_service/assets/demo.pt")


def main() -> None:
    options = _options()
    figures = evaluate(options.model, options.digits, Sizes().scaled(options.part), _report)
    print(table(figures))
    if options.json:
        write_json(figures, options.json)
    if options.card:
        write_card(figures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, default=ASSET, help="(%(default)s)")
    parser.add_argument("--digits", type=Path, help="recordings named DIGIT_SPEAKER_N.wav")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--card", action="store_true", help="write them into the model card")
    parser.add_argument("--part", type=float, default=1.0, help="of all utterances (%(default)s)")
    return parser.parse_args()


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
