"""What WhisperASR answers a window with."""

from dataclasses import dataclass

from whisper_service.types import Hypothesis


@dataclass(frozen=True, slots=True)
class Answer:
    """A hypothesis, and who has it."""

    hypothesis: Hypothesis
    replica: str
    """The name of the WhisperASR replica that decoded it."""
