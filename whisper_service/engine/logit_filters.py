"""Which tokens may come next: openai-whisper's logit filters, over all rows at once.

`TokenConstraints` are one row's, five numbers, from what the row has sampled so far, on the host;
`LogitFilters.apply` masks the logits of a whole batch by them, on the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from whisper.tokenizer import Tokenizer

from whisper_service.engine.device import to_device

NEG_INF = float("-inf")


@dataclass(frozen=True, slots=True)
class TokenConstraints:
    """What may come next in one row."""

    text_from: int
    """Tokens below are forbidden: 0, or the end of text, or the first timestamp."""
    time_from: int
    """Timestamps below are forbidden; the vocabulary's size forbids all."""
    time_to: int
    """Timestamps from here on are forbidden."""
    is_first: bool
    """A first token must not be blank."""
    is_timed: bool
    """The row follows the timestamp filters."""

    @property
    def numbers(self) -> tuple[int, int, int, int, int]:
        """For `LogitFilters.mask`."""
        return (
            self.text_from,
            self.time_from,
            self.time_to,
            int(self.is_first),
            int(self.is_timed),
        )


class LogitFilters:
    """The filters of one model's vocabulary."""

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
        """Forbid these too: without the end of text, benchmarks give lengths."""
        more = torch.tensor(list(tokens), device=self._suppressed.device)
        self._suppressed = torch.cat([self._suppressed, more])
        self._is_suppressed[more] = True

    def constraints(
        self, sampled: Sequence[int], last_time: int | None, *, is_timed: bool
    ) -> TokenConstraints:
        """What may follow the tokens `sampled`, of which `last_time` is the last timestamp.

        Timestamps come in pairs, except right before the end; they do not decrease, and a segment
        has a length.
        """
        if not is_timed:
            return TokenConstraints(0, 0, self.n_vocab, not sampled, is_timed=False)
        if not sampled:
            return TokenConstraints(
                self.time_begin, self.time_begin, self._last_initial + 1, True, is_timed=True
            )
        ends_in_time = sampled[-1] >= self.time_begin
        is_complete_pair = ends_in_time and (len(sampled) < 2 or sampled[-2] >= self.time_begin)
        if is_complete_pair:
            return TokenConstraints(0, self.n_vocab, self.n_vocab, False, is_timed=True)
        lowest = self.time_begin
        if last_time is not None:
            lowest = last_time if ends_in_time else last_time + 1
        return TokenConstraints(
            self.eot if ends_in_time else 0, lowest, self.n_vocab, False, is_timed=True
        )

    def mask(self, logits: Tensor, constraints: Tensor) -> None:
        """As `apply`, with the same operations whatever the rows: constraints int64 [R, 5],
        each row's `TokenConstraints.numbers`.

        A CPU does only what `apply` finds there is to do; a GPU's time is that of the launches,
        and a recorded graph knows no ifs.
        """
        text_from, time_from, time_to, is_first, is_timed = constraints[:, :, None].unbind(1)
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

    def apply(self, logits: Tensor, constraints: Sequence[TokenConstraints]) -> None:
        """Mask logits float32 [R, V] in place."""
        if logits.device.type != "cpu":
            numbers = [constraint.numbers for constraint in constraints]
            self.mask(logits, to_device(numbers, logits.device))
            return
        logits.index_fill_(1, self._suppressed, NEG_INF)
        for row, constraint in enumerate(
            constraints
        ):  # few rows at a time are constrained like this
            if constraint.is_first:
                logits[row, self._blank] = NEG_INF
            if constraint.text_from:
                logits[row, : constraint.text_from] = NEG_INF
        timed = [row for row, constraint in enumerate(constraints) if constraint.is_timed]
        if timed:
            self._apply_times(logits, constraints, timed)

    def _apply_times(
        self, logits: Tensor, constraints: Sequence[TokenConstraints], timed: list[int]
    ) -> None:
        device = logits.device
        lowest = torch.tensor([constraint.time_from for constraint in constraints], device=device)[
            :, None
        ]
        highest = torch.tensor([constraint.time_to for constraint in constraints], device=device)[
            :, None
        ]
        is_timed = torch.tensor([constraint.is_timed for constraint in constraints], device=device)
        times = logits[:, self.time_begin :]
        times.masked_fill_((self._times < lowest) | (self._times >= highest), NEG_INF)
        text = logits[:, : self.time_begin]
        text[timed, self._no_timestamps] = NEG_INF
        # If a timestamp is likelier than any one word, it is a timestamp.
        is_time = (times.logsumexp(-1) > text.amax(-1)) & is_timed
        text.masked_fill_(is_time[:, None], NEG_INF)


def _suppressed(tokenizer: Tokenizer) -> list[int]:
    """What is never sampled: symbols that are no speech, and the tokens that steer the decoder."""
    special = [
        tokenizer.transcribe,
        tokenizer.translate,
        tokenizer.sot,
        tokenizer.sot_prev,
        tokenizer.sot_lm,
        tokenizer.no_speech,
    ]
    return sorted({*tokenizer.non_speech_tokens, *(t for t in special if t is not None)})
