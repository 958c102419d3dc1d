"""A hypothesis as words on the stream's own clock, and such words as the segment of a final.

Owns the conversion between the clock of a window (seconds) and that of the stream (samples), and
between segments and words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from whisper_service.policy.text import normalized, split_words
from whisper_service.types import SAMPLE_RATE, Hypothesis, Segment, Word


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word of one hypothesis. Positions are samples from the start of the stream."""

    text: str
    """With its leading space, so that words join to text."""
    start: int
    end: int
    probability: float = 1.0

    @property
    def middle(self) -> int:
        """The position halfway through the word."""
        return (self.start + self.end) // 2

    @property
    def key(self) -> str:
        """The word without case and punctuation, to compare words by."""
        return normalized(self.text)


def join(words: Sequence[TimedWord]) -> str:
    """Return the text of words."""
    return "".join(word.text for word in words)


def to_timed_words(hypothesis: Hypothesis, begin: int, end: int) -> list[TimedWord]:
    """Return all words of a hypothesis for the audio `[begin, end)`.

    Where the engine gave no word times, the words share their segment's time in proportion to
    their letters. So do words that alignment put together under one time.
    """
    words: list[TimedWord] = []
    for segment in hypothesis.segments:
        timed = [piece for word in segment.words for piece in _single_words(word)]
        for word in timed or _share(segment.text, segment.start, segment.end, 1.0):
            start = min(begin + round(word.start * SAMPLE_RATE), end)
            stop = min(begin + round(word.end * SAMPLE_RATE), end)
            words.append(TimedWord(word.text, start, max(start, stop), word.probability))
    return words


def _single_words(word: Word) -> list[Word]:
    if " " not in word.text.strip():
        return [word]
    return _share(word.text, word.start, word.end, word.probability)


def _share(text: str, start: float, end: float, probability: float) -> list[Word]:
    per_letter = (end - start) / max(1, len(text))
    words, at = [], start
    for piece in split_words(text):
        words.append(Word(piece, at, at + len(piece) * per_letter, probability))
        at += len(piece) * per_letter
    return words


def to_segment(
    words: Sequence[TimedWord],
    hypothesis: Hypothesis,
    *,
    id: int,
    start: int,
    end: int,
    has_words: bool,
) -> Segment:
    """Return `words` as one segment within the samples `[start, end)`, with the decode's scores.

    `avg_logprob` is the mean over all tokens of the hypothesis; the other scores are the worst of
    its segments. Tokens are left out: those of a hypothesis that was cut or merged do not spell
    this text.
    """
    first = min(max(words[0].start, start), end)
    last = max(min(words[-1].end, end), first)
    segments = hypothesis.segments
    weights = [max(1, len(segment.tokens)) for segment in segments]
    logprob = sum(w * s.avg_logprob for w, s in zip(weights, segments, strict=True))
    return Segment(
        id=id,
        start=first / SAMPLE_RATE,
        end=last / SAMPLE_RATE,
        text=join(words),
        words=_clipped(words, first, last) if has_words else (),
        avg_logprob=logprob / max(1, sum(weights)),
        no_speech_prob=max((s.no_speech_prob for s in segments), default=0.0),
        compression_ratio=max((s.compression_ratio for s in segments), default=1.0),
        temperature=max((s.temperature for s in segments), default=0.0),
    )


def _clipped(words: Sequence[TimedWord], first: int, last: int) -> tuple[Word, ...]:
    """Keep word times in order and within the segment."""
    clipped, at = [], first
    for word in words:
        start = min(max(word.start, at), last)
        at = min(max(word.end, start), last)
        clipped.append(Word(word.text, start / SAMPLE_RATE, at / SAMPLE_RATE, word.probability))
    return tuple(clipped)
