"""When each word was said: openai-whisper's alignment by cross-attention (`whisper.timing`)."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from whisper.model import Whisper
from whisper.timing import add_word_timestamps
from whisper.tokenizer import Tokenizer

from whisper_service.types import Segment, Word


def align(
    model: Whisper,
    tokenizer: Tokenizer,
    features: torch.Tensor,
    n_frames: int,
    segments: Sequence[Segment],
    duration: float,
) -> tuple[Segment, ...]:
    """Give each segment its words, whose texts join to the segment's.

    As in openai-whisper a segment's times become those of its words, unless they are far off.
    `features` [1500, n_state]; `n_frames` of 10 ms hold audio.
    """
    if n_frames < 2:  # less than one position of the encoder: nothing to align with
        return tuple(_as_one_word(segment) for segment in segments)
    timed: list[dict[str, Any]] = [
        {"seek": 0, "start": segment.start, "end": segment.end, "tokens": list(segment.tokens)}
        for segment in segments
    ]
    add_word_timestamps(
        segments=timed,
        model=_EncodedAudio(model),
        tokenizer=tokenizer,
        mel=features,
        num_frames=n_frames,
        last_speech_timestamp=0.0,
    )
    return tuple(
        _with_words(segment, raw, duration) for segment, raw in zip(segments, timed, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _EncodedAudio:
    """Stands in for the model in `find_alignment`, which would run the encoder once more."""

    model: Whisper

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def __call__(self, features: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model.decoder(tokens, features)
        return logits


def _with_words(segment: Segment, raw: dict[str, Any], duration: float) -> Segment:
    """Take over times and words; numpy numbers become Python's."""
    words = tuple(
        Word(
            text=word["word"],
            start=_clip(word["start"], duration),
            end=_clip(word["end"], duration),
            probability=float(word["probability"]),
        )
        for word in raw["words"]
    )
    # A quotation mark that opens a sentence is joined to the next segment's first word; the text
    # follows the words.
    text = "".join(word.text for word in words)
    start, end = _clip(raw["start"], duration), _clip(raw["end"], duration)
    if not words:
        return _as_one_word(segment)
    if end <= start:  # a lone word, to which openai-whisper gives no length; it drops its text
        return _as_one_word(replace(segment, text=text), min(w.probability for w in words))
    return replace(segment, text=text, start=start, end=end, words=_in_order(words))


def _in_order(words: Sequence[Word]) -> tuple[Word, ...]:
    """Take back overlaps that openai-whisper's shortening of long words leaves."""
    starts = list(itertools.accumulate((word.start for word in words), max))
    return tuple(
        replace(word, start=start, end=max(start, word.end))
        for word, start in zip(words, starts, strict=True)
    )


def _as_one_word(segment: Segment, probability: float | None = None) -> Segment:
    """For want of an alignment: the segment's own times and its mean token probability."""
    if probability is None:
        probability = math.exp(segment.avg_logprob)
    word = Word(segment.text, segment.start, segment.end, probability)
    return replace(segment, words=(word,))


def _clip(seconds: float, duration: float) -> float:
    return min(max(float(seconds), 0.0), duration)
