"""A hypothesis of one job, as words on the stream's own clock and as the fields of a final.

Owns the conversion between the two clocks and between segments and words, nothing else.
"""

from collections.abc import Sequence

from whisper_service.policy.agreement import Heard, join, split_words
from whisper_service.types import SAMPLE_RATE, Hypothesis, Segment, Word


def heard_words(hypothesis: Hypothesis, begin: int, end: int) -> list[Heard]:
    """Return all words of a job that covered `[begin, end)`.

    Where the engine gave no word times, words share their segment's time by their letters; so do
    those that it gave one time for all, as alignment does to a word that it finds no length for.
    """
    words: list[Heard] = []
    for segment in hypothesis.segments:
        timed = [piece for word in segment.words for piece in _single_words(word)]
        for word in timed or _share(segment.text, segment.start, segment.end, 1.0):
            start = min(begin + round(word.start * SAMPLE_RATE), end)
            stop = min(begin + round(word.end * SAMPLE_RATE), end)
            words.append(Heard(word.text, start, max(start, stop), word.probability))
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


def final_segment(
    words: Sequence[Heard],
    hypothesis: Hypothesis,
    *,
    id: int,
    start: int,
    end: int,
    has_words: bool,
) -> Segment:
    """Return `words` as one segment within `[start, end)`, with the decode's own figures.

    `avg_logprob` is the mean over tokens, the others are the worst of the decode's segments.
    Tokens are left out: those of a decode that was cut or merged are not those of this text.
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


def _clipped(words: Sequence[Heard], first: int, last: int) -> tuple[Word, ...]:
    """Keep word times in order and within the segment."""
    clipped, at = [], first
    for word in words:
        start = min(max(word.start, at), last)
        at = min(max(word.end, start), last)
        clipped.append(Word(word.text, start / SAMPLE_RATE, at / SAMPLE_RATE, word.probability))
    return tuple(clipped)
