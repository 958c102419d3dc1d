"""One stream's latencies, measured between its own audio clock and the time that is given.

Pure: it is given the times at which audio came and events went, and records metrics. Latencies
count from when the audio was received, so a client's own delays are not in them.
"""

from bisect import bisect_left
from collections import deque

from whisper_service.api import metrics
from whisper_service.api.metrics import Metrics
from whisper_service.policy.stream_events import Event, Final, Partial, SpeechEnded, SpeechStarted
from whisper_service.policy.text import split_words

_MAX_ARRIVALS = 4096
"""Messages of audio whose time is kept: ten minutes of 0.15 s; older ones count as the oldest."""


class StreamMeter:
    """Seconds everywhere: `now` on any steady clock, positions on the stream's own."""

    def __init__(self, metrics: Metrics, model: str, protocol: str) -> None:
        self._metrics = metrics
        self._labels = {"model": model, "protocol": protocol}
        self._positions: deque[float] = deque(maxlen=_MAX_ARRIVALS)
        self._times: deque[float] = deque(maxlen=_MAX_ARRIVALS)
        self._speech_received: float | None = None
        """When the speech was received for which no partial was sent yet."""
        self._shown: list[str] = []
        self._n_loops = 0
        self._n_phrases = 0

    def audio_received(self, received: float, now: float) -> None:
        """All audio before `received` is here."""
        self._positions.append(received)
        self._times.append(now)

    def hypothesis_received(self, lag: float, n_loops: int, n_phrases: int) -> None:
        """A decode came back: what waits now, and what was dropped since the stream began."""
        self._record(metrics.LAG, lag)
        if n_loops > self._n_loops:
            self._record(metrics.DROPPED_LOOPS, n_loops - self._n_loops)
        if n_phrases > self._n_phrases:
            self._record(metrics.DROPPED_PHRASES, n_phrases - self._n_phrases)
        self._n_loops, self._n_phrases = n_loops, n_phrases

    def event_sent(self, event: Event, now: float) -> None:
        """An event went to the client."""
        match event:
            case SpeechStarted():
                self._speech_received = self._received_at(event.at, now)
            case Partial():
                if self._speech_received is not None:
                    self._record(metrics.FIRST_PARTIAL, now - self._speech_received)
                    self._speech_received = None
                self._compare(split_words(event.text))
            case Final():
                self._record(metrics.COMMIT, now - self._received_at(event.segment.end, now))
                words = split_words(event.segment.text)
                self._compare(words)
                self._shown = self._shown[len(words) :]
            case SpeechEnded():
                self._record(metrics.FINAL_LAG, now - self._received_at(event.at, now))
                self._speech_received, self._shown = None, []

    def _compare(self, words: list[str]) -> None:
        """Count what was shown before and now comes again, or otherwise."""
        pairs = list(zip(self._shown, words, strict=False))
        if pairs:
            self._record(metrics.SHOWN_WORDS, len(pairs))
        if n_revised := sum(before != after for before, after in pairs):
            self._record(metrics.REVISED_WORDS, n_revised)
        self._shown = words if len(words) >= len(self._shown) else self._shown

    def _received_at(self, position: float, now: float) -> float:
        """Return when the audio at `position` was received."""
        index = bisect_left(self._positions, position - 1e-6)
        return self._times[index] if index < len(self._times) else now

    def _record(self, measure: metrics.Measure, value: float) -> None:
        self._metrics.record(measure, max(0.0, value), **self._labels)
