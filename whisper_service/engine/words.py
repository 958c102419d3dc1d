"""When each word was spoken: openai-whisper's alignment by cross-attention (`whisper.timing`)."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from whisper import timing
from whisper.model import ModelDimensions
from whisper.tokenizer import Tokenizer

from whisper_service.engine.cpu import keep_compiled
from whisper_service.types import Segment, Word

for _function in (timing.backtrace, timing.dtw_cpu):
    keep_compiled(_function)

Scores = Callable[[Tensor], tuple[Tensor, list[Tensor]]]
"""Tokens int64 [n] -> logits float32 [n, V]; by alignment head, the cross-attention scores
float32 [n, 1500] before the softmax."""


def align(
    score: Scores,
    dims: ModelDimensions,
    heads: Sequence[tuple[int, int]],
    tokenizer: Tokenizer,
    n_frames: int,
    segments: Sequence[Segment],
    duration: float,
) -> tuple[Segment, ...]:
    """Give each segment its words, whose texts join to the segment's.

    As in openai-whisper a segment's times become those of its words, unless they are far off.
    `heads` are (layer, head), in the order of the scores; `n_frames` of 10 ms hold audio.
    """
    if n_frames < 2:  # less than one position of the encoder: nothing to align with
        return tuple(_as_one_word(segment) for segment in segments)
    timed: list[dict[str, Any]] = [
        {"seek": 0, "start": segment.start, "end": segment.end, "tokens": list(segment.tokens)}
        for segment in segments
    ]
    timing.add_word_timestamps(
        segments=timed,
        model=_Scorer(score, dims, heads),
        tokenizer=tokenizer,
        mel=torch.empty(0),
        num_frames=n_frames,
        last_speech_timestamp=0.0,
    )
    return tuple(
        _with_words(segment, raw, duration) for segment, raw in zip(segments, timed, strict=True)
    )


def without_prefix(segments: Sequence[Segment], prefix: str) -> tuple[Segment, ...]:
    """Leave out the first segment, which is `prefix`, but for a mark that alignment joined to its
    last word: that is the first thing after it."""
    before, *found = segments
    mark = before.text[len(prefix) :]
    if not mark or not found:
        return tuple(found)
    first = found[0]
    start = min(before.end, first.start)
    word = Word(mark, start, start, first.words[0].probability)
    rest = replace(first, text=mark + first.text, start=start, words=(word, *first.words))
    return (rest, *found[1:])


class _Scorer:
    """Stands in for the model in `find_alignment`, which hooks its layers to see the scores.

    The original would run the encoder once more, and needs the model as openai-whisper keeps it.
    """

    def __init__(
        self, score: Scores, dims: ModelDimensions, heads: Sequence[tuple[int, int]]
    ) -> None:
        self.dims = dims
        self.device = torch.device("cpu")
        self.decoder = self
        self.blocks = [_Layer() for _ in range(dims.n_text_layer)]
        self._score = score
        self._heads = heads

    @property
    def alignment_heads(self) -> "_Scorer":
        return self

    def indices(self) -> Tensor:
        """int64 [2, n_heads], as of the sparse tensor that openai-whisper keeps."""
        return torch.tensor(self._heads).T

    def __call__(self, _mel: Tensor, tokens: Tensor) -> Tensor:
        logits, scores = self._score(tokens[0])
        for (layer, head), score in zip(self._heads, scores, strict=True):
            self.blocks[layer].seen[head] = score
        for block in self.blocks:
            block.show()
        return logits[None]


class _Layer:
    """A decoder layer as far as `find_alignment` looks: it can be hooked."""

    def __init__(self) -> None:
        self.cross_attn = self
        self.seen: dict[int, Tensor] = {}
        self._hook: Callable[..., Any] | None = None

    def register_forward_hook(self, hook: Callable[..., Any]) -> "_Layer":
        self._hook = hook
        return self

    def remove(self) -> None:
        self._hook = None

    def show(self) -> None:
        """Call the hook with the layer's outputs, of which only the scores are looked at."""
        if self._hook is not None:
            self._hook(None, None, (None, [self]))

    def __getitem__(self, head: Tensor) -> Tensor:
        return self.seen[int(head)]


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
