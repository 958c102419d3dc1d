"""Where committed text ends when no pause says so: a position between two words.

Owns two rules: which words of unfinished speech can be committed, and where exactly the boundary
after a word lies. Word times come from cross-attention and are off by up to a tenth of a second,
so the boundary is the quietest position near them. Positions are samples.
"""

from collections.abc import Sequence

from whisper_service.audio.buffer import AudioBuffer
from whisper_service.policy import energy
from whisper_service.policy.timed_words import TimedWord
from whisper_service.types import SAMPLE_RATE

_GUARD = 3 * SAMPLE_RATE // 10
"""300 ms: the end of the audio may have cut a word that ends closer to it."""
_SLACK = SAMPLE_RATE // 8
"""125 ms: how far a word's end may be from its time."""
_DIP = 3 * SAMPLE_RATE // 100
"""30 ms: the dip in level between two words that no pause separates is hardly longer."""


def count_committable(words: Sequence[TimedWord], end: int) -> int:
    """Return how many of the first `words` the end of the audio, at `end`, cannot have changed.

    The last word never counts: where the audio cuts a word, a decoder may omit that word or end
    the one before too early, and the boundary would lie within a word.
    """
    n_committable = 0
    for i, word in enumerate(words[:-1]):
        if word.end > end - _GUARD:
            break
        n_committable = i + 1
    return n_committable


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
