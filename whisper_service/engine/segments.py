"""Cut decoded tokens into segments at their timestamps. Plain ints, no torch.

The rules of `whisper.transcribe`, with one difference: it throws away a last segment without a
closing timestamp, because it decodes that audio again. Here every token's text comes back, and
the plan decides: such a segment ends with the audio.
"""

from collections.abc import Sequence
from dataclasses import dataclass

SECONDS_PER_TIMESTAMP = 0.02
"""Two 10 ms frames: the encoder's stride."""


@dataclass(frozen=True, slots=True)
class Span:
    """The tokens of one segment, timestamps included; seconds from the start of the window."""

    start: float
    end: float
    tokens: tuple[int, ...]


def split(tokens: Sequence[int], timestamp_begin: int, duration: float) -> list[Span]:
    """Cut `tokens`; `duration` is the window's audio in seconds, and no span runs past it."""
    is_time = [token >= timestamp_begin for token in tokens]
    borders = [i for i in range(1, len(tokens)) if is_time[i - 1] and is_time[i]]
    if not borders:
        return [_only_span(tokens, timestamp_begin, duration)]
    if is_time[-1] and not is_time[-2]:
        borders.append(len(tokens))

    def seconds(token: int) -> float:
        return min((token - timestamp_begin) * SECONDS_PER_TIMESTAMP, duration)

    starts = [0, *borders]
    spans = [
        Span(seconds(tokens[start]), seconds(tokens[end - 1]), tuple(tokens[start:end]))
        for start, end in zip(starts, borders, strict=False)
    ]
    if rest := tuple(tokens[borders[-1] :]):
        spans.append(Span(seconds(rest[0]), duration, rest))
    return spans


def _only_span(tokens: Sequence[int], timestamp_begin: int, duration: float) -> Span:
    """No two timestamps in a row: all is one segment, up to the last timestamp if there is one."""
    last = max((token for token in tokens if token > timestamp_begin), default=None)
    if last is not None:
        duration = min((last - timestamp_begin) * SECONDS_PER_TIMESTAMP, duration)
    return Span(0.0, duration, tuple(tokens))
