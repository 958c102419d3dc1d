"""From the tokens of a decode to segments, cut at its timestamps, with text and confidence.

The rules of `whisper.transcribe`, with one difference: it throws away a last segment without a
closing timestamp, because it decodes that audio again. Here every token's text comes back, and
the plan decides: such a segment ends with the audio.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from whisper.tokenizer import Tokenizer

from whisper_service.engine.fallback import Result
from whisper_service.types import Segment

SECONDS_PER_TIMESTAMP = 0.02
"""Two 10 ms frames: the encoder's stride."""


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """The tokens of one segment, timestamps included; seconds from the start of the window."""

    start: float
    end: float
    tokens: tuple[int, ...]


def to_segments(tokenizer: Tokenizer, result: Result, duration: float) -> tuple[Segment, ...]:
    """Turn a decode's tokens into segments; those without text are left out."""
    found: list[Segment] = []
    for span in split(result.tokens, tokenizer.timestamp_begin, duration):
        text = tokenizer.decode([token for token in span.tokens if token < tokenizer.eot])
        if not text.strip():
            continue
        found.append(
            Segment(
                id=len(found),
                start=span.start,
                end=max(span.start, span.end),
                text=text,
                tokens=span.tokens,
                avg_logprob=result.avg_logprob,
                no_speech_prob=result.no_speech_prob,
                compression_ratio=result.compression_ratio,
                temperature=result.temperature,
            )
        )
    return tuple(found)


def split(tokens: Sequence[int], timestamp_begin: int, duration: float) -> list[TokenSpan]:
    """Cut `tokens`; `duration` is the window's audio in seconds, and no span goes past it."""
    is_time = [token >= timestamp_begin for token in tokens]
    boundaries = [i for i in range(1, len(tokens)) if is_time[i - 1] and is_time[i]]
    if not boundaries:
        return [_only_span(tokens, timestamp_begin, duration)]
    if is_time[-1] and not is_time[-2]:
        boundaries.append(len(tokens))

    def seconds(token: int) -> float:
        return min((token - timestamp_begin) * SECONDS_PER_TIMESTAMP, duration)

    starts = [0, *boundaries]
    spans = [
        TokenSpan(seconds(tokens[start]), seconds(tokens[end - 1]), tuple(tokens[start:end]))
        for start, end in zip(starts, boundaries, strict=False)
    ]
    if rest := tuple(tokens[boundaries[-1] :]):
        spans.append(TokenSpan(seconds(rest[0]), duration, rest))
    return spans


def _only_span(tokens: Sequence[int], timestamp_begin: int, duration: float) -> TokenSpan:
    """No two timestamps in a row: all is one segment, up to the last timestamp if there is one."""
    last = max((token for token in tokens if token > timestamp_begin), default=None)
    if last is not None:
        duration = min((last - timestamp_begin) * SECONDS_PER_TIMESTAMP, duration)
    return TokenSpan(0.0, duration, tuple(tokens))
