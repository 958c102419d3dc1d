"""A window to decode, and what for."""

from dataclasses import dataclass
from enum import Enum, auto

from whisper_service.types import DecodeJob


class Kind(Enum):
    """What a job's hypothesis will be used for."""

    PARTIAL = auto()
    SPECULATIVE = auto()
    """Also a partial, up to a pause; the final, if the pause turns out to be the end."""
    WORDS = auto()
    """Final: the words that cannot change any more."""
    PAUSE = auto()
    """Final: all of it, up to a pause."""
    LAST = auto()
    """Final: all of it, and the end of the stretch."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A job with its reason. Its audio is `[begin, end)`; that before `border` is final already."""

    kind: Kind
    begin: int
    border: int
    end: int
    asked_at: int
    """How much of the stream was there when it was asked for."""
    job: DecodeJob
