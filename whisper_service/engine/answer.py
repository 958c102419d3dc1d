"""From the tokens of a decode to the answer: segments with text, times and confidence."""

from whisper.tokenizer import Tokenizer

from whisper_service.engine import segments
from whisper_service.engine.fallback import Result
from whisper_service.types import Segment


def to_segments(tokenizer: Tokenizer, result: Result, duration: float) -> tuple[Segment, ...]:
    """Turn a decode's tokens into segments; those without text are left out."""
    found: list[Segment] = []
    for span in segments.split(result.tokens, tokenizer.timestamp_begin, duration):
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
