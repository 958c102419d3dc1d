"""What is measured of live streams and uploads: names, units, buckets. Nothing of who stores it.

The labels of a stream's figures are the model and the protocol; their names are few and known,
where those of sessions would be without end.
"""

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric, as Prometheus would describe it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    description: str
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, in the unit of the name."""
    labels: tuple[str, ...] = ("model",)
    """What a figure is told apart by."""


_LABELS = ("model", "protocol")
"""The protocol is `stream`, `realtime` or `listen`, the last part of its path."""
_LATENCIES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""Seconds. Close together about one second, where live text begins to feel late."""

FIRST_PARTIAL = Measure(
    "whisper_stream_first_partial_seconds",
    "histogram",
    "From when the beginning of speech was received to its first partial.",
    _LATENCIES,
    labels=_LABELS,
)
COMMIT = Measure(
    "whisper_stream_commit_seconds",
    "histogram",
    "From when the end of a final's audio was received to the final.",
    _LATENCIES,
    labels=_LABELS,
)
FINAL_LAG = Measure(
    "whisper_stream_final_lag_seconds",
    "histogram",
    "From when the end of speech was received to the last final of it, endpoint silence included.",
    _LATENCIES,
    labels=_LABELS,
)
LAG = Measure(
    "whisper_stream_lag_seconds",
    "histogram",
    "Audio that waits for its final beyond the stream's chunk duration, at each decode.",
    (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0),
    labels=_LABELS,
)
SHOWN_WORDS = Measure(
    "whisper_stream_shown_words",
    "counter",
    "Words of partials that a later partial or final said again or otherwise.",
    labels=_LABELS,
)
REVISED_WORDS = Measure(
    "whisper_stream_revised_words",
    "counter",
    "Of the shown words, those that came otherwise; the ratio is the revision rate.",
    labels=_LABELS,
)
DROPPED_LOOPS = Measure(
    "whisper_stream_dropped_loops",
    "counter",
    "Loops of the decoder that were left out.",
    labels=_LABELS,
)
DROPPED_PHRASES = Measure(
    "whisper_stream_dropped_phrases",
    "counter",
    "Stock phrases out of noise that were left out.",
    labels=_LABELS,
)
ACTIVE_STREAMS = Measure("whisper_streams", "gauge", "Streams open now.", labels=_LABELS)

STREAM_MEASURES = (
    FIRST_PARTIAL,
    COMMIT,
    FINAL_LAG,
    LAG,
    SHOWN_WORDS,
    REVISED_WORDS,
    DROPPED_LOOPS,
    DROPPED_PHRASES,
    ACTIVE_STREAMS,
)

UPLOADS = Measure("whisper_uploads", "gauge", "Uploads being transcribed now.", labels=())
UPLOAD_WAIT = Measure(
    "whisper_upload_wait_seconds",
    "gauge",
    "Until a window of an upload that came now would be begun, at the pace of the last answers.",
    labels=(),
)
REFUSED_UPLOADS = Measure(
    "whisper_refused_uploads", "counter", "Uploads refused because they would wait.", labels=()
)
UPLOAD_MEASURES = (UPLOADS, UPLOAD_WAIT, REFUSED_UPLOADS)


RUNNING_JOBS = Measure("whisper_running_jobs", "gauge", "Jobs being worked on now.", labels=())
QUEUED_JOBS = Measure(
    "whisper_queued_jobs", "gauge", "Jobs that wait, in the folder of the jobs.", labels=()
)
ENDED_JOBS = Measure(
    "whisper_ended_jobs", "counter", "Jobs that were worked on to their end.", labels=("state",)
)
WEBHOOKS = Measure(
    "whisper_webhooks", "counter", "Tries to deliver a webhook.", labels=("delivery",)
)
JOB_MEASURES = (RUNNING_JOBS, QUEUED_JOBS, ENDED_JOBS, WEBHOOKS)


class Metrics(Protocol):
    """Where figures go. Must be cheap: it is called in the middle of streams."""

    def record(self, measure: Measure, value: float, **labels: str) -> None:
        """Observe (histogram), add (counter) or set (gauge) a value, with all labels it has."""


class NoMetrics:
    """Forgets everything; where nobody collects."""

    def record(self, measure: Measure, value: float, **labels: str) -> None:
        """See `Metrics`."""
