"""Which words of a hypothesis become final, and up to where: a decision, which the plan applies.

Pure: new words in, a `Commit` or None out. Owns the rules for words that later audio may still
change, and for decodes that are truncated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whisper_service.audio.buffer import AudioBuffer
from whisper_service.policy import energy
from whisper_service.policy.boundary import boundary_between
from whisper_service.policy.planned_window import PlannedWindow, Purpose
from whisper_service.policy.stream_events import FinalEnd
from whisper_service.policy.text import split_trailing_marks
from whisper_service.policy.timed_words import TimedWord
from whisper_service.policy.truncation import MAX_UNCOVERED, is_truncated
from whisper_service.types import SAMPLE_RATE

_MIN_STEP = SAMPLE_RATE // 5
"""200 ms, a short word: a commit of less would cover less than the words in it."""
_MAX_UNHEARD = SAMPLE_RATE // 2
"""0.5 s of speech in which a decode finds no word is decoded again without context."""
_GUARD = 3 * SAMPLE_RATE // 10
"""300 ms: the end of the audio may have cut a word that ends closer to it."""


@dataclass(frozen=True, slots=True)
class NewWords:
    """The words of a decode after the last commit, stable words first."""

    window: PlannedWindow
    words: Sequence[TimedWord]
    n_stable: int
    """How many of `words` were in the stable part of a partial."""


@dataclass(frozen=True, slots=True)
class Commit:
    """`words` become final, and with them all audio before `until` (samples)."""

    words: Sequence[TimedWord]
    until: int
    ends_at: FinalEnd
    rest: Sequence[TimedWord] = ()
    """Words after `until`, which are not final."""
    mark: str = ""
    """Punctuation after `words`, held until the next words confirm it."""
    is_truncated: bool = False
    """The decode ended before the speech did: the next window begins anew, without context."""


def decide(
    new: NewWords,
    buffer: AudioBuffer,
    *,
    is_full: bool,
    n_truncated: int,
    has_detector: bool,
    holds_mark: bool,
) -> Commit | None:
    """Return what becomes final of a window that was decoded for a final; None: wait for more.

    `is_full`: the window can hold no more audio. `n_truncated`: truncated decodes before this one.
    `has_detector`: a detector finds the pauses. `holds_mark`: later words may change the last mark.
    """
    window = new.window
    if window.purpose is not Purpose.FORCED:
        ends_at: FinalEnd = "speech" if window.purpose is Purpose.ENDPOINT else "pause"
        whole = _truncated(new, buffer, n_truncated)
        whole = whole or Commit(new.words, window.end, ends_at)
        is_new = len(whole.words) > new.n_stable
        return _hold_mark(whole) if holds_mark and is_new and not whole.is_truncated else whole
    commit = _forced(new, buffer, has_detector=has_detector)
    if commit.until >= window.committed + _MIN_STEP:
        return commit
    if not is_full:
        return None
    whole = Commit(new.words, window.end, "words")
    return _truncated(new, buffer, n_truncated) or whole


def _forced(new: NewWords, buffer: AudioBuffer, *, has_detector: bool) -> Commit:
    """Commit the words that later audio cannot change."""
    window, words = new.window, new.words
    if not has_detector and _ends_in_pause(window):
        return Commit(words, window.end, "pause")
    n_final = max(count_committable(words, window.end), new.n_stable)
    until = _boundary_after(new, n_final, buffer)
    return Commit(words[:n_final], until, "words", rest=words[n_final:])


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


def _boundary_after(new: NewWords, n_words: int, buffer: AudioBuffer) -> int:
    """Return the boundary after the first `n_words`; the last commit's where there are none."""
    window, words = new.window, new.words
    if not n_words:
        return window.committed
    following = words[n_words] if n_words < len(words) else None
    return boundary_between(
        words[n_words - 1], following, buffer, begin=window.committed, end=window.end
    )


def _ends_in_pause(window: PlannedWindow) -> bool:
    pauses = energy.pauses(window.job.audio, at_least=energy.BREATH)
    return bool(pauses) and len(window.job.audio) - pauses[-1][1] < energy.HOP


def _truncated(new: NewWords, buffer: AudioBuffer, n_truncated: int) -> Commit | None:
    """Commit the words of a decode that ended long before the speech did; None if it did not."""
    window, words = new.window, new.words
    job = window.job
    if not words and not job.previous_text and not job.prefix:
        return None  # another decode would be the same
    has_letters = any(word.key for word in words)
    max_uncovered = MAX_UNCOVERED if has_letters else _MAX_UNHEARD
    n_uncovered = _speech_after(window, words)
    if not is_truncated(n_uncovered, n_truncated, max_uncovered=max_uncovered):
        return None
    until = _boundary_after(new, len(words), buffer)
    if words and until < window.committed + _MIN_STEP:
        return None
    return Commit(words, until, "words", is_truncated=True)


def _speech_after(window: PlannedWindow, words: Sequence[TimedWord]) -> int:
    """Return how many samples after the last word are as loud as speech."""
    covered = max(window.committed, words[-1].end if words else 0)
    loud = energy.speech_like(window.job.audio)[(covered - window.begin) // energy.HOP :]
    return int(loud.sum()) * energy.HOP


def _hold_mark(commit: Commit) -> Commit:
    """Take the punctuation off the last word."""
    words, mark = list(commit.words), ""
    while words:
        last = words.pop()
        body, found = split_trailing_marks(last.text)
        mark = found or mark
        if body.strip():
            return replace(commit, words=[*words, replace(last, text=body)], mark=mark)
    return replace(commit, words=(), mark=mark)
