"""Ray Serve's metrics as the place where figures go; Ray adds deployment and replica as labels."""

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


class RayMetrics:
    """Implements `api.metrics.Metrics`; to be made in a replica, once."""

    def __init__(self, measures: Iterable[Measure]) -> None:
        self._metrics = {measure.name: _make(measure) for measure in measures}

    def record(self, measure: Measure, value: float, model: str) -> None:
        """Observe, add or set a value."""
        metric, tags = self._metrics[measure.name], {"model": model}
        if isinstance(metric, ray_metrics.Histogram):
            metric.observe(value, tags=tags)
        elif isinstance(metric, ray_metrics.Gauge):
            metric.set(value, tags=tags)
        elif value > 0:  # Ray refuses to add nothing
            metric.inc(value, tags=tags)


def _make(
    measure: Measure,
) -> ray_metrics.Counter | ray_metrics.Gauge | ray_metrics.Histogram:
    name, description, tags = measure.name, measure.description, ("model",)
    if measure.kind == "histogram":
        return ray_metrics.Histogram(
            name, description=description, boundaries=list(measure.buckets), tag_keys=tags
        )
    if measure.kind == "gauge":
        return ray_metrics.Gauge(name, description=description, tag_keys=tags)
    return ray_metrics.Counter(name, description=description, tag_keys=tags)
