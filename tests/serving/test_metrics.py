"""Every figure that is measured can be recorded, and is described where operators look."""

from pathlib import Path

import pytest

from whisper_service.api.metrics import (
    ACTIVE_STREAMS,
    JOB_MEASURES,
    STREAM_MEASURES,
    UPLOAD_MEASURES,
)
from whisper_service.serving.metrics import (
    AUDIO_SECONDS,
    BUSY_SECONDS,
    ENGINE_MEASURES,
    QUEUE,
    STEPS,
    TOKENS,
    WINDOW,
    EngineMeter,
    RayMetrics,
)

ALL = (*STREAM_MEASURES, *UPLOAD_MEASURES, *JOB_MEASURES, WINDOW, *ENGINE_MEASURES)
DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


@pytest.mark.parametrize("measure", ALL, ids=lambda m: m.name)
def test_every_measure_is_taken_and_described(measure):
    metrics = RayMetrics([measure])
    for value in (0.0, 1.5):
        metrics.record(measure, value, **dict.fromkeys(measure.labels, "demo"))
    assert f"| `{measure.name}` | {measure.kind} |" in DOCS


def test_nothing_is_described_that_is_not_measured():
    rows = [line for line in DOCS.splitlines() if line.startswith("| `")]
    assert len(rows) == len(ALL)


def test_an_engine_has_counted_all_its_work_once_the_last_job_is_answered():
    class Sums(dict[str, float]):
        def record(self, measure, value, *, model):
            assert model == "demo"
            self[measure.name] = self.get(measure.name, 0) + value

    sums = Sums()
    meter = EngineMeter(sums)
    meter.admitted("demo", [0.25, 0.5], 2.0)
    for _ in range(10):
        meter.stepped("demo", 2, 0.5)
    meter.answered("demo", 30.0)
    meter.answered("demo", 12.0)
    assert sums == {
        QUEUE.name: 0.75,
        STEPS.name: 10,
        TOKENS.name: 20,
        BUSY_SECONDS.name: 7.0,
        AUDIO_SECONDS.name: 42.0,
    }


def test_a_gauge_that_does_not_change_is_set_again(monkeypatch):
    metrics = RayMetrics([ACTIVE_STREAMS])
    metrics.record(ACTIVE_STREAMS, 3, model="demo", protocol="stream")
    told = []
    gauge = metrics._metrics[ACTIVE_STREAMS.name]
    monkeypatch.setattr(gauge, "set", lambda value, tags: told.append((value, tags)))
    metrics.refresh()
    assert told == [(3, {"model": "demo", "protocol": "stream"})]
