"""A stream's latencies, between its audio's clock and a clock in the test's hand."""

import pytest

from whisper_service.api import metrics
from whisper_service.api.live.latency_meter import StreamMeter
from whisper_service.policy.stream_events import (
    Final,
    Partial,
    SpeechEnded,
    SpeechStarted,
    StreamState,
)
from whisper_service.types import Segment


class Memory:
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, float, dict[str, str]]] = []

    def record(self, measure, value, **labels):
        assert set(labels) == set(measure.labels)
        self.recorded.append((measure.name, value, labels))

    def of(self, measure) -> list[float]:
        return [value for name, value, _ in self.recorded if name == measure.name]


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def meter(memory):
    """A stream whose audio came in seconds, each at ten times its position."""
    meter = StreamMeter(memory, "base", "stream")
    for second in range(1, 11):
        meter.audio_received(float(second), now=second * 10.0)
    return meter


def final(text, end):
    segment = Segment(0, 0.0, end, text)
    return Final(segment, "en", 1.0, StreamState(0, 1, "en", 1.0, ""), "pause")


def test_the_first_partial_counts_from_when_its_speech_came(meter, memory):
    meter.event_sent(SpeechStarted(2.0), now=30.0)
    meter.event_sent(Partial(2.0, 3.0, "", " one"), now=31.5)
    meter.event_sent(Partial(2.0, 4.0, " one", " two"), now=40.0)
    assert memory.of(metrics.FIRST_PARTIAL) == [11.5]


def test_a_final_counts_from_when_its_end_came(meter, memory):
    meter.event_sent(final(" one", end=2.5), now=31.0)
    assert memory.of(metrics.COMMIT) == [1.0]


def test_the_end_of_speech_counts_with_its_silence(meter, memory):
    meter.event_sent(SpeechEnded(4.0), now=46.0)
    assert memory.of(metrics.FINAL_LAG) == [6.0]


def test_revised_words_are_counted_among_the_shown(meter, memory):
    meter.event_sent(Partial(0.0, 1.0, "", " one too"), now=1.0)
    meter.event_sent(Partial(0.0, 2.0, " one", " two three"), now=2.0)
    meter.event_sent(final(" one two", end=1.0), now=10.0)
    meter.event_sent(Partial(0.0, 2.0, "", " free"), now=11.0)
    assert sum(memory.of(metrics.SHOWN_WORDS)) == 2 + 2 + 1
    assert sum(memory.of(metrics.REVISED_WORDS)) == 1 + 0 + 1


def test_what_was_dropped_is_counted_once(meter, memory):
    meter.hypothesis_received(0.0, 1, 0)
    meter.hypothesis_received(2.5, 1, 2)
    assert memory.of(metrics.DROPPED_LOOPS) == [1]
    assert memory.of(metrics.DROPPED_PHRASES) == [2]
    assert memory.of(metrics.LAG) == [0.0, 2.5]


def test_what_came_long_ago_is_forgotten(memory):
    meter = StreamMeter(memory, "base", "stream")
    for number in range(10_000):
        meter.audio_received(number / 10, now=float(number))
    meter.event_sent(final(" one", end=0.0), now=10_000.0)
    assert memory.of(metrics.COMMIT) == [4096.0]
