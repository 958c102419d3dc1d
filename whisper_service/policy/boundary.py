"""Where committed text ends when no pause says so: a position between two words.

Word times come from cross-attention and are off by up to a tenth of a second, so the boundary is
the quietest position near them. Positions are samples.
"""

from whisper_service.audio.buffer import AudioBuffer
from whisper_service.policy import energy
from whisper_service.policy.timed_words import TimedWord
from whisper_service.types import SAMPLE_RATE

_SLACK = SAMPLE_RATE // 8
"""125 ms: how far a word's end may be from its time."""
_DIP = 3 * SAMPLE_RATE // 100
"""30 ms: the dip in level between two words that no pause separates is hardly longer."""


def boundary_range(word: TimedWord, following: TimedWord | None, end: int) -> tuple[int, int]:
    """Return the first and the last position for a boundary after `word`, before `end`."""
    low = max(word.end - _SLACK, word.middle)
    high = word.end + _SLACK
    if following is not None:
        high = min(max(following.start + _SLACK, word.end), max(following.middle, word.end))
    return min(low, end), min(high, end)


def boundary_between(
    word: TimedWord, following: TimedWord | None, buffer: AudioBuffer, *, begin: int, end: int
) -> int:
    """Return the quietest position between two words, within `[begin, end]`.

    Of equally quiet positions the one nearest to the end of `word` counts. `following` is None
    after the last word.
    """
    low, high = (max(position, begin) for position in boundary_range(word, following, end))
    near = min(max(word.end, low), high)
    if high - low < energy.HOP:
        return near
    return low + energy.quietest(buffer.slice(low, high), width=_DIP, near=near - low)
