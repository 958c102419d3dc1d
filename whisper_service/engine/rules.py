"""Which tokens may come next: openai-whisper's logit filters, over all rows at once.

`Bounds` says it for one row as four numbers, from what the row has said so far, on the host;
`Rules.apply` masks the logits of a whole batch with them, on the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from whisper.tokenizer import Tokenizer

from whisper_service.engine.send import send

NEG_INF = float("-inf")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one row may say next."""

    text_from: int
    """Tokens below are forbidden: 0, or the end of text, or the first timestamp."""
    time_from: int
    """Timestamps below are forbidden; the vocabulary's size forbids all."""
    time_to: int
    """Timestamps from here on are forbidden."""
    is_first: bool
    """A first token must not be blank."""
    is_timed: bool
    """The row follows the timestamp rules."""

    @property
    def numbers(self) -> tuple[int, int, int, int, int]:
        """For `Rules.mask`."""
        return (
            self.text_from,
            self.time_from,
            self.time_to,
            int(self.is_first),
            int(self.is_timed),
        )


class Rules:
    """The rules of one model's vocabulary."""

    def __init__(self, tokenizer: Tokenizer, n_vocab: int, n_frames: int, device: torch.device):
        self.eot: int = tokenizer.eot
        self.time_begin: int = tokenizer.timestamp_begin
        self.n_vocab = n_vocab
        seconds_per_position = 30 / n_frames
        self._last_initial = self.time_begin + round(1.0 / seconds_per_position)
        self._no_timestamps: int = tokenizer.no_timestamps
        self._suppressed = torch.tensor(_suppressed(tokenizer), device=device)
        self._blank = torch.tensor([*tokenizer.encode(" "), tokenizer.eot], device=device)
        self._tokens = torch.arange(n_vocab, device=device)
        self._times = self._tokens[self.time_begin :]
        self._is_suppressed = torch.zeros(n_vocab, dtype=torch.bool, device=device)
        self._is_suppressed[self._suppressed] = True
        self._is_blank = torch.zeros_like(self._is_suppressed)
        self._is_blank[self._blank] = True

    def forbid(self, tokens: Sequence[int]) -> None:
        """Never let these be said either: without the end of text, benchmarks give lengths."""
        more = torch.tensor(list(tokens), device=self._suppressed.device)
        self._suppressed = torch.cat([self._suppressed, more])
        self._is_suppressed[more] = True

    def bounds(self, said: Sequence[int], last_time: int | None, *, is_timed: bool) -> Bounds:
        """What may follow the sampled tokens `said`, of which `last_time` is the last timestamp.

        Timestamps come in pairs, except right before the end; they do not decrease, and a segment
        has a length.
        """
        if not is_timed:
            return Bounds(0, 0, self.n_vocab, not said, is_timed=False)
        if not said:
            return Bounds(
                self.time_begin, self.time_begin, self._last_initial + 1, True, is_timed=True
            )
        ends_in_time = said[-1] >= self.time_begin
        if ends_in_time and (len(said) < 2 or said[-2] >= self.time_begin):  # a pair is complete
            return Bounds(0, self.n_vocab, self.n_vocab, False, is_timed=True)
        lowest = self.time_begin
        if last_time is not None:
            lowest = last_time if ends_in_time else last_time + 1
        return Bounds(self.eot if ends_in_time else 0, lowest, self.n_vocab, False, is_timed=True)

    def mask(self, logits: Tensor, bounds: Tensor) -> None:
        """As `apply`, with the same operations whatever the rows: bounds int64 [R, 5], each row's
        `Bounds.numbers`.

        A CPU does only what `apply` finds there is to do; a GPU's time is that of the launches,
        and a recorded graph knows no ifs.
        """
        text_from, time_from, time_to, is_first, is_timed = bounds[:, :, None].unbind(1)
        tokens = self._tokens
        is_wrong_time = (tokens >= self.time_begin) & ((tokens < time_from) | (tokens >= time_to))
        logits.masked_fill_(
            self._is_suppressed
            | (self._is_blank & is_first.bool())
            | (tokens < text_from)
            | ((tokens == self._no_timestamps) & is_timed.bool())
            | is_wrong_time,
            NEG_INF,
        )
        times, text = logits[:, self.time_begin :], logits[:, : self.time_begin]
        is_time = times.logsumexp(-1, keepdim=True) > text.amax(-1, keepdim=True)
        text.masked_fill_(is_time & is_timed.bool(), NEG_INF)

    def apply(self, logits: Tensor, bounds: Sequence[Bounds]) -> None:
        """Mask logits float32 [R, V] in place."""
        if logits.device.type != "cpu":
            self.mask(logits, send([bound.numbers for bound in bounds], logits.device))
            return
        logits.index_fill_(1, self._suppressed, NEG_INF)
        for row, bound in enumerate(bounds):  # few rows at a time are bound like this
            if bound.is_first:
                logits[row, self._blank] = NEG_INF
            if bound.text_from:
                logits[row, : bound.text_from] = NEG_INF
        timed = [row for row, bound in enumerate(bounds) if bound.is_timed]
        if timed:
            self._apply_times(logits, bounds, timed)

    def _apply_times(self, logits: Tensor, bounds: Sequence[Bounds], timed: list[int]) -> None:
        device = logits.device
        lowest = torch.tensor([bound.time_from for bound in bounds], device=device)[:, None]
        highest = torch.tensor([bound.time_to for bound in bounds], device=device)[:, None]
        is_timed = torch.tensor([bound.is_timed for bound in bounds], device=device)
        times = logits[:, self.time_begin :]
        times.masked_fill_((self._times < lowest) | (self._times >= highest), NEG_INF)
        text = logits[:, : self.time_begin]
        text[timed, self._no_timestamps] = NEG_INF
        # If a timestamp is likelier than any one word, it is a timestamp.
        is_time = (times.logsumexp(-1) > text.amax(-1)) & is_timed
        text.masked_fill_(is_time[:, None], NEG_INF)


def _suppressed(tokenizer: Tokenizer) -> list[int]:
    """What is never said: symbols that are no speech, and the tokens that steer the decoder."""
    special = [
        tokenizer.transcribe,
        tokenizer.translate,
        tokenizer.sot,
        tokenizer.sot_prev,
        tokenizer.sot_lm,
        tokenizer.no_speech,
    ]
    return sorted({*tokenizer.non_speech_tokens, *(t for t in special if t is not None)})
