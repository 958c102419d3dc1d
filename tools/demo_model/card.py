"""Writes the figures into the model card, between its two marks."""

import json
from dataclasses import asdict
from pathlib import Path

from tools.demo_model.evaluation import Figure, table

CARD = Path("docs/demo-model.md")
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"


def with_figures(card: str, figures: list[Figure]) -> str:
    """Raises ValueError where the card has lost its marks."""
    before, mark, rest = card.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not mark or not end:
        raise ValueError(f"the model card has no {_BEGIN} and {_END}")
    return f"{before}{_BEGIN}\n{table(figures)}\n{_END}{after}"


def write_card(figures: list[Figure], path: Path = CARD) -> None:
    path.write_text(with_figures(path.read_text(encoding="utf-8"), figures), encoding="utf-8")


def write_json(figures: list[Figure], path: Path) -> None:
    rows = [asdict(figure) for figure in figures]
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
