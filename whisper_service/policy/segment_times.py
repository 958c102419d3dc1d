"""Moves a window's segments to the file's clock, and there to the speech that was detected."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from whisper_service.policy.window_cutter import FileWindow, Span
from whisper_service.types import SAMPLE_RATE, Segment, Word

_SLACK = SAMPLE_RATE // 20
"""50 ms: how late the detector finds the beginning of speech, and how early its end."""
_MIN_DURATION = 0.02
"""Seconds: the step of Whisper's timestamps, and the least duration of a segment or word."""
_PAUSE = 2 * SAMPLE_RATE // 5
"""400 ms: a silence within a phrase is shorter."""


def has_pauses(window: FileWindow) -> bool:
    """Whether speech in the window pauses, so that segments may have to be split."""
    return any(_pauses(window.speech))


def to_file_times(segment: Segment, window: FileWindow, start: int) -> Segment:
    """Move a segment to the file's clock; its decode began at sample `start` of the window.

    A start or an end outside speech moves to the nearest speech within the segment. A word moves
    to the speech that holds most of it.
    """
    first = _position(window, start, segment.start)
    last = max(first, _position(window, start, segment.end, is_end=True))
    first, last = _within_speech(first, last, window.speech)
    words = tuple(_words_in_speech(segment.words, window, start, Span(first, last)))
    return replace(segment, start=first / SAMPLE_RATE, end=last / SAMPLE_RATE, words=words)


def split_at_pauses(segment: Segment, window: FileWindow) -> list[Segment]:
    """Split a segment between words that a pause separates; word times are the file's.

    The parts have no tokens, since nothing says which tokens spell which word.
    """
    parts: list[list[Word]] = []
    for word in segment.words:
        if parts and not _is_pause_between(parts[-1][-1], word, window.speech):
            parts[-1].append(word)
        else:
            parts.append([word])
    if len(parts) < 2:
        return [segment]
    return [_part(segment, part) for part in parts]


def _part(segment: Segment, words: Sequence[Word]) -> Segment:
    return replace(
        segment,
        start=words[0].start,
        end=words[-1].end,
        text="".join(word.text for word in words),
        words=tuple(words),
        tokens=(),
    )


def _is_pause_between(before: Word, after: Word, speech: Sequence[Span]) -> bool:
    end, start = round(before.end * SAMPLE_RATE), round(after.start * SAMPLE_RATE)
    return any(end <= a.end + _SLACK and start >= b.start - _SLACK for a, b in _pauses(speech))


def _pauses(speech: Sequence[Span]) -> Iterator[tuple[Span, Span]]:
    """Yield the speech before and after each pause."""
    return ((a, b) for a, b in pairwise(speech) if b.start - a.end >= _PAUSE)


def _position(window: FileWindow, start: int, seconds: float, *, is_end: bool = False) -> int:
    at = start + round(seconds * SAMPLE_RATE)
    # Where chunks meet, an end belongs to the earlier one.
    return window.position(max(at - 1, 0)) + 1 if is_end else window.position(at)


def _words_in_speech(
    words: Sequence[Word], window: FileWindow, start: int, segment: Span
) -> Iterator[Word]:
    spans = [
        span for span in window.speech if span.start < segment.end and span.end > segment.start
    ]
    at = 0
    for word in words:
        first = _position(window, start, word.start)
        last = max(first, _position(window, start, word.end, is_end=True))
        low, high = segment.start, segment.end
        if spans:
            at = max(range(at, len(spans)), key=lambda index: _overlap(spans[index], first, last))
            low, high = max(low, spans[at].start - _SLACK), min(high, spans[at].end + _SLACK)
        first, last = min(max(first, low), high), min(max(last, low), high)
        yield replace(word, start=first / SAMPLE_RATE, end=last / SAMPLE_RATE)


def _overlap(span: Span, start: int, end: int) -> int:
    """Return how many samples of `[start, end)` the span holds; a negative number is a distance."""
    return min(span.end, end) - max(span.start, start)


def _within_speech(start: int, end: int, speech: Sequence[Span]) -> tuple[int, int]:
    """Narrow `[start, end)` so that it begins and ends with speech, if it holds any."""
    held = [span for span in speech if span.start < end and span.end > start]
    if not held:
        return start, end
    return max(start, held[0].start - _SLACK), min(end, held[-1].end + _SLACK)


def in_order(segments: Sequence[Segment], start: float, end: float) -> list[Segment]:
    """Return the segments with times that follow one another within `[start, end]` seconds.

    So do the times of each segment's words; none is shorter than 20 ms if there is room.
    """
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
    """Shift times as little as possible; evenly where there is not `_MIN_DURATION` for each."""
    step = min(_MIN_DURATION, (end - start) / max(1, len(times)))
    placed, at = [], start
    for n_left, (first, last) in zip(range(len(times), 0, -1), times, strict=True):
        first = min(max(first, at), end - n_left * step)
        at = min(max(last, first + step), end - (n_left - 1) * step)
        placed.append((first, at))
    return placed
