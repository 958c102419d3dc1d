"""Where a live stream's final text ends, when no pause says so: between two words.

Owns the three rules a border needs: which words of an unfinished stretch may be final, where
exactly the border then lies, and which words of the next hypothesis are final already. Word times
come from cross-attention and are off by up to a tenth of a second, so the energy has a say.
"""

from collections.abc import Sequence

from whisper_service.audio.buffer import AudioBuffer
from whisper_service.policy import energy
from whisper_service.policy.agreement import Heard
from whisper_service.types import SAMPLE_RATE

GUARD = 3 * SAMPLE_RATE // 10
"""300 ms: a word that ends closer to the end of the audio may have been cut there."""
SLACK = SAMPLE_RATE // 8
"""125 ms: how far a word's end may be from where its time says."""
DIP = 3 * SAMPLE_RATE // 100
"""30 ms: between two words spoken without a pause there is hardly more of a dip."""


def count_final(words: Sequence[Heard], end: int) -> int:
    """Return how many words, of audio that ends at `end`, that end cannot have changed.

    Never the last one: a decoder may leave the cut word after it out, or end it too early (seen
    by 0.4 s), and then the border would lie within a word. If it is whole, a pause will show.
    """
    n_final = 0
    for i, word in enumerate(words[:-1]):
        if word.end > end - GUARD:
            break
        n_final = i + 1
    return n_final


def border_range(words: Sequence[Heard], n_final: int, end: int) -> tuple[int, int]:
    """Return between which positions the border after `words[:n_final]` may lie."""
    last = words[n_final - 1]
    low = max(last.end - SLACK, last.middle)
    high = last.end + SLACK
    if n_final < len(words):
        following = words[n_final]
        high = min(max(following.start + SLACK, last.end), max(following.middle, last.end))
    return min(low, end), min(high, end)


def border_after(
    words: Sequence[Heard], n_final: int, buffer: AudioBuffer, *, begin: int, end: int
) -> int:
    """Return the quietest position after the first `n_final` words, within `[begin, end]`; of
    equals the nearest."""
    if not n_final:
        return begin
    low, high = (max(position, begin) for position in border_range(words, n_final, end))
    near = min(max(words[n_final - 1].end, low), high)
    if high - low < energy.HOP:
        return near
    return low + energy.quietest(buffer.slice(low, high), width=DIP, near=near - low)
