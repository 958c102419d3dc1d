"""Ray Serve's metrics as the place where figures go; Ray adds deployment and replica as labels."""

import time
from collections import defaultdict
from collections.abc import Iterable

from ray.serve import metrics as ray_metrics

from whisper_service.api.metrics import Measure

WINDOW = Measure(
    "whisper_window_seconds",
    "histogram",
    "From when a replica took a window to its hypothesis, queue, loading and batch included.",
    (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0),
)
"""Up to `decode_timeout`, after which nobody waits any more."""
QUEUE = Measure(
    "whisper_engine_queue_seconds",
    "histogram",
    "What a window waited in WhisperASR before it joined the batch.",
    (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
)
STEPS = Measure(
    "whisper_engine_steps", "counter", "Decoder steps; each gives every row of the batch a token."
)
TOKENS = Measure(
    "whisper_engine_tokens",
    "counter",
    "Tokens decoded over all rows, beams and fallbacks included; over the steps, the batch size.",
)
BUSY_SECONDS = Measure(
    "whisper_engine_busy_seconds", "counter", "Time the device encoded and decoded."
)
AUDIO_SECONDS = Measure(
    "whisper_engine_audio_seconds",
    "counter",
    "Audio decoded; over the busy time, how many times real time.",
)
ENGINE_MEASURES = (QUEUE, STEPS, TOKENS, BUSY_SECONDS, AUDIO_SECONDS)
_FLUSH_EVERY = 1.0
"""Seconds. A step takes a millisecond, a record in Ray's metrics some hundredths of one."""


class RayMetrics:
    """Implements `api.metrics.Metrics`; to be made in a replica, once."""

    def __init__(self, measures: Iterable[Measure]) -> None:
        self._metrics = {measure.name: _make(measure) for measure in measures}
        self._gauges: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

    def record(self, measure: Measure, value: float, **labels: str) -> None:
        """Observe, add or set a value."""
        metric = self._metrics[measure.name]
        if isinstance(metric, ray_metrics.Histogram):
            metric.observe(value, tags=labels)
        elif isinstance(metric, ray_metrics.Gauge):
            self._gauges[measure.name, frozenset(labels.items())] = value
            metric.set(value, tags=labels)
        elif value > 0:  # Ray refuses to add nothing
            metric.inc(value, tags=labels)

    def refresh(self) -> None:
        """Set every gauge again. Call it every few seconds: Ray stops to export one that was not
        set for two of its report intervals, so that streams which merely go on would vanish."""
        for (name, labels), value in self._gauges.items():
            self._metrics[name].set(value, tags=dict(labels))


class EngineMeter:
    """Implements `engine.meter.Meter`: adds up what comes by the step, and passes it on."""

    def __init__(self, metrics: RayMetrics) -> None:
        self._metrics = metrics
        self._sums: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._flushed = time.monotonic()
        self._measures = {measure.name: measure for measure in ENGINE_MEASURES}

    def admitted(self, model: str, waits: list[float], seconds: float) -> None:
        """See `Meter`."""
        for wait in waits:
            self._metrics.record(QUEUE, wait, model=model)
        self._sums[BUSY_SECONDS.name, model] += seconds

    def stepped(self, model: str, n_rows: int, seconds: float) -> None:
        """See `Meter`."""
        self._sums[STEPS.name, model] += 1
        self._sums[TOKENS.name, model] += n_rows
        self._sums[BUSY_SECONDS.name, model] += seconds
        if time.monotonic() - self._flushed >= _FLUSH_EVERY:
            self._flush()

    def answered(self, model: str, audio_seconds: float) -> None:
        """See `Meter`."""
        self._sums[AUDIO_SECONDS.name, model] += audio_seconds
        self._flush()

    def _flush(self) -> None:
        sums, self._sums = self._sums, defaultdict(float)
        self._flushed = time.monotonic()
        for (name, model), value in sums.items():
            self._metrics.record(self._measures[name], value, model=model)


def _make(
    measure: Measure,
) -> ray_metrics.Counter | ray_metrics.Gauge | ray_metrics.Histogram:
    name, description, tags = measure.name, measure.description, measure.labels
    if measure.kind == "histogram":
        return ray_metrics.Histogram(
            name, description=description, boundaries=list(measure.buckets), tag_keys=tags
        )
    if measure.kind == "gauge":
        return ray_metrics.Gauge(name, description=description, tag_keys=tags)
    return ray_metrics.Counter(name, description=description, tag_keys=tags)
