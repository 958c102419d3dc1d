"""Every figure that is measured can be recorded, and is described where operators look."""

from pathlib import Path

import pytest

from whisper_service.api.metrics import STREAM_MEASURES
from whisper_service.serving.metrics import WINDOW, RayMetrics

DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


@pytest.mark.parametrize("measure", [*STREAM_MEASURES, WINDOW], ids=lambda m: m.name)
def test_every_measure_is_taken_and_described(measure):
    metrics = RayMetrics([measure])
    for value in (0.0, 1.5):
        metrics.record(measure, value, "demo")
    assert f"| `{measure.name}` | {measure.kind} |" in DOCS


def test_nothing_is_described_that_is_not_measured():
    rows = [line for line in DOCS.splitlines() if line.startswith("| `")]
    assert len(rows) == len(STREAM_MEASURES) + 1
