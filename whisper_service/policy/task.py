"""A window to decode, and what for."""

from dataclasses import dataclass
from enum import Enum, auto

from whisper_service.types import DecodeJob, DecodeOptions


class Kind(Enum):
    """What a job's hypothesis will be used for."""

    PARTIAL = auto()
    SPECULATIVE = auto()
    """Also a partial, up to a pause; the final, if the pause turns out to be the end."""
    PAUSE = auto()
    """Final: all of it, up to a pause within the stretch."""
    WORDS = auto()
    """Final: the words that cannot have been cut."""
    LAST = auto()
    """Final: all of it, and the end of the stretch."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A job with its reason. The words of `[border, end)` are wanted; it begins before that."""

    kind: Kind
    begin: int
    border: int
    end: int
    asked_at: int
    """How much of the stream was there when it was asked for."""
    job: DecodeJob


def can_cut_words(options: DecodeOptions) -> bool:
    """Whether words have a place of their own in the audio; translated ones have not."""
    return options.task == "transcribe"
