"""Removes hallucinations between silences from a file's segments, by word times and probabilities.

`hallucination_silence_threshold` of `whisper.transcribe`, as a function of one window: which
segments stay, and where to decode again. Times are seconds on the file's clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from whisper_service.types import WINDOW_SECONDS, Segment, Word

_PUNCTUATION = "\"'“¿([{-\"'.。,，!！?？:：”)]}、"
_N_SCORED = 8
"""The first words of a segment, which are scored."""
_EDGE = 2.0
"""Seconds: a segment this close to the window's edge counts as beside silence."""
_STEP = 1.0
"""Seconds by which a decode moves on, at least."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A window's segments without hallucinations."""

    segments: tuple[Segment, ...]
    resume_at: float | None
    """Where to decode the window again, in seconds; None if all segments were kept."""


def without_silence_hallucinations(
    segments: Sequence[Segment],
    threshold: float,
    *,
    start: float,
    end: float,
    last_speech: float,
    content_end: float,
) -> Kept:
    """Remove improbable segments between silences longer than `threshold` seconds.

    The window lasts from `start` to `end`. The speech before it ended at `last_speech`; after
    `content_end` there is none.
    """
    segments = tuple(segments)
    spoken = [index for index, segment in enumerate(segments) if segment.words]
    if not spoken:
        return Kept(segments, None)
    first = segments[spoken[0]]
    if is_segment_anomaly(first) and first.start - start > threshold:
        return Kept((), first.start)  # decoded again without the silence before it
    window_end = start + WINDOW_SECONDS
    for index, following in zip(spoken, [*spoken[1:], None], strict=True):
        segment = segments[index]
        if is_segment_anomaly(segment):
            after = None if following is None else segments[following]
            next_start = end if after is None else after.words[0].start
            has_silence_before = (
                segment.start - last_speech > threshold
                or segment.start < threshold
                or segment.start - start < _EDGE
            )
            has_silence_after = (
                next_start - segment.end > threshold
                or (after is not None and is_segment_anomaly(after))
                or window_end - segment.end < _EDGE
            )
            if has_silence_before and has_silence_after:
                resume_at = max(start + _STEP, segment.start)
                is_last = content_end - segment.end < threshold
                return Kept(segments[:index], content_end if is_last else resume_at)
        last_speech = segment.end
    return Kept(segments, None)


def is_segment_anomaly(segment: Segment) -> bool:
    """Whether a segment's first words are improbable, or too short or too long for words."""
    words = [word for word in segment.words if word.text not in _PUNCTUATION][:_N_SCORED]
    score = sum(_anomaly_score(word) for word in words)
    return bool(segment.words) and (score >= 3 or score + 0.01 >= len(words))


def _anomaly_score(word: Word) -> float:
    duration = word.end - word.start
    score = 1.0 if word.probability < 0.15 else 0.0
    return score + max(0.0, 0.133 - duration) * 15 + max(0.0, duration - 2.0)
