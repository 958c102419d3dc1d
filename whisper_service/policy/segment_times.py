"""Segments of a window's decode, moved to the file's clock and to where somebody speaks there."""

from collections.abc import Sequence
from dataclasses import replace

from whisper_service.policy.windows import Span, Window
from whisper_service.types import SAMPLE_RATE, Segment, Word

_SLACK = SAMPLE_RATE // 10
"""100 ms: how late the detector hears speech begin, and how soon it takes it for over."""
_LEAST = 0.02
"""Seconds: the step of Whisper's timestamps; nothing is shorter."""


def to_file_times(segment: Segment, window: Window, start: int) -> Segment:
    """Move a segment of a decode that began at sample `start` of the window's audio to the file.

    A start or an end in a stretch without speech moves to the speech next to it, within the
    segment.
    """
    first = _position(window, start, segment.start)
    last = max(first, _position(window, start, segment.end, is_end=True))
    first, last = _within_speech(first, last, window.speech)
    words = tuple(
        Word(
            word.text,
            min(max(_position(window, start, word.start), first), last) / SAMPLE_RATE,
            min(max(_position(window, start, word.end, is_end=True), first), last) / SAMPLE_RATE,
            word.probability,
        )
        for word in segment.words
    )
    return replace(segment, start=first / SAMPLE_RATE, end=last / SAMPLE_RATE, words=words)


def _position(window: Window, start: int, seconds: float, *, is_end: bool = False) -> int:
    at = start + round(seconds * SAMPLE_RATE)
    # Where chunks meet, an end belongs to the earlier one.
    return window.position(max(at - 1, 0)) + 1 if is_end else window.position(at)


def _within_speech(start: int, end: int, speech: Sequence[Span]) -> tuple[int, int]:
    """Narrow `[start, end)` to begin and end with speech, if it holds any."""
    held = [span for span in speech if span.start < end and span.end > start]
    if not held:
        return start, end
    return max(start, held[0].start - _SLACK), min(end, held[-1].end + _SLACK)


def in_order(segments: Sequence[Segment], start: float, end: float) -> list[Segment]:
    """Let segments, and the words of each, follow one another within `[start, end]` seconds, each
    with a length."""
    times = _in_order([(segment.start, segment.end) for segment in segments], start, end)
    return [
        replace(segment, start=first, end=last, words=_words_in_order(segment.words, first, last))
        for segment, (first, last) in zip(segments, times, strict=True)
    ]


def _words_in_order(words: Sequence[Word], start: float, end: float) -> tuple[Word, ...]:
    times = _in_order([(word.start, word.end) for word in words], start, end)
    return tuple(
        replace(word, start=first, end=last)
        for word, (first, last) in zip(words, times, strict=True)
    )


def _in_order(
    times: Sequence[tuple[float, float]], start: float, end: float
) -> list[tuple[float, float]]:
    """Shift times as little as need be; where there is not room for `_LEAST` each, evenly."""
    step = min(_LEAST, (end - start) / max(1, len(times)))
    placed, at = [], start
    for n_left, (first, last) in zip(range(len(times), 0, -1), times, strict=True):
        first = min(max(first, at), end - n_left * step)
        at = min(max(last, first + step), end - (n_left - 1) * step)
        placed.append((first, at))
    return placed
