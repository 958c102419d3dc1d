"""What a stream tells its client. Seconds on the stream's own audio clock, 0 at its first sample.

Contract (property-tested): finals come in order, never overlap and are never taken back; `stable`
of a partial only grows until the final that contains it.
"""

from dataclasses import dataclass
from typing import Literal

from whisper_service.types import Segment

FinalEnd = Literal["words", "pause", "speech"]
"""What a final ends at: the words that cannot change any more, while speech goes on; a pause; the
end of speech, or of what the client ended."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """All a replica must know to go on with a stream that another one began.

    Audio before `offset` is final; the client sends its audio again from there.
    """

    offset: int
    """Samples at 16 kHz."""
    next_id: int
    """`Segment.id` of the next final."""
    language: str | None
    language_probability: float
    context: str
    """Text of the last finals, the next job's `previous_text`."""
    mark: str = ""
    """Punctuation after the last final that waits for what follows."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The detector heard speech begin."""

    at: float


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Speech ended, `endpoint_silence` ago; the final of what was said comes before this."""

    at: float


@dataclass(frozen=True, slots=True)
class Partial:
    """What the words after the last final are thought to be; replaced by the next partial."""

    start: float
    end: float
    stable: str
    """Agreed by successive hypotheses."""
    unstable: str

    @property
    def text(self) -> str:
        """The whole partial, stable part first."""
        return self.stable + self.unstable


@dataclass(frozen=True, slots=True)
class Final:
    """Text that will not change. `state` is what a resume after it needs."""

    segment: Segment
    language: str
    language_probability: float
    state: StreamState
    ends_at: FinalEnd


@dataclass(frozen=True, slots=True)
class Done:
    """The stream was stopped and everything it held is final."""

    duration: float
    text: str


Event = SpeechStarted | SpeechEnded | Partial | Final | Done
