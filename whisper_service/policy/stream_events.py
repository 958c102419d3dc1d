"""The events of a stream. Times are seconds on the stream's own clock, 0 at its first sample.

Contract (property-tested): finals come in order, never overlap and are never taken back. The
`stable` part of partials only grows until the final that contains it.
"""

from dataclasses import dataclass
from typing import Literal

from whisper_service.types import Segment

FinalEnd = Literal["words", "pause", "speech"]
"""Where a final ends: between words, while speech goes on; at a pause; or at the end of speech,
which an endpoint or the client decides."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """All that a replica needs to continue a stream that another replica began.

    Audio before `offset` is final; the client sends its audio again from there.
    """

    offset: int
    """Samples at 16 kHz."""
    next_id: int
    """`Segment.id` of the next final."""
    language: str | None
    language_probability: float
    context: str
    """The text of the last finals: the next job's `previous_text`."""
    mark: str = ""
    """Punctuation after the last final, held until the next words confirm it."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech began at `at`."""

    at: float


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Speech ended at `at`, `endpoint_silence` ago; its last final comes before this event."""

    at: float


@dataclass(frozen=True, slots=True)
class Partial:
    """The words after the last final, as far as known; the next partial replaces it."""

    start: float
    end: float
    stable: str
    """Words on which successive hypotheses agreed."""
    unstable: str

    @property
    def text(self) -> str:
        """The whole partial, stable part first."""
        return self.stable + self.unstable


@dataclass(frozen=True, slots=True)
class Final:
    """Text that will not change. `state` continues the stream after it."""

    segment: Segment
    language: str
    language_probability: float
    state: StreamState
    ends_at: FinalEnd


@dataclass(frozen=True, slots=True)
class Done:
    """The stream was stopped, and everything is final. `text` is that of all finals."""

    duration: float
    text: str


Event = SpeechStarted | SpeechEnded | Partial | Final | Done
