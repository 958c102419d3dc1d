"""From masked logits to the tokens a search may go on with: one read from the device for all."""

from collections.abc import Sequence

import torch
from torch import Tensor

from whisper_service.engine.cpu import topk
from whisper_service.engine.sampling import Candidate
from whisper_service.engine.sequence_group import SequenceGroup


def choose(logits: Tensor, groups: Sequence[SequenceGroup]) -> list[list[Candidate]]:
    """Choose each row's candidates from masked logits float32 [R, V], those of a group side by
    side."""
    best = _best(logits, max(group.search.n_candidates for group in groups))
    starts, n_rows = [], 0
    for group in groups:
        starts.append(n_rows)
        n_rows += len(group.search.rows)
    draw(best, logits, groups, starts)
    read = best.tolist()
    return [
        candidates(row, group)
        for group, start in zip(groups, starts, strict=True)
        for row in read[start : start + len(group.search.rows)]
    ]


def likeliest(logits: Tensor) -> list[Candidate]:
    """Choose each row's likeliest token from masked logits float32 [R, V]."""
    return [Candidate(int(token), logprob) for [[token, logprob]] in _best(logits, 1).tolist()]


def _best(logits: Tensor, n: int) -> Tensor:
    """Choose each row's `n` likeliest; -> float32 [R, n, 2], (token, log-probability) pairs."""
    values, tokens = topk(logits.log_softmax(-1), n)  # in one pass; logsumexp takes three
    # A token fits a float32 exactly, so that tokens and log-probabilities are one copy.
    return torch.stack([tokens.float(), values], dim=-1)


def candidates(row: Sequence[Sequence[float]], group: SequenceGroup) -> list[Candidate]:
    """What was read of one row, (token, log-probability) pairs, as far as its search wants it."""
    return [Candidate(int(token), logprob) for token, logprob in row[: group.search.n_candidates]]


def draw(
    best: Tensor, logits: Tensor, groups: Sequence[SequenceGroup], starts: Sequence[int]
) -> None:
    """Put a drawn token in front of `best` float32 [R, k, 2] in the rows of groups that sample.

    `starts`: each group's first row. What `torch.multinomial` draws, which reads from the device
    twice to see whether its probabilities are sound.
    """
    for group, start in zip(groups, starts, strict=True):
        if group.search.temperature <= 0:
            continue
        rows = slice(start, start + len(group.search.rows))
        probs = (logits[rows] / group.search.temperature).softmax(-1)
        exponential = torch.empty_like(probs).exponential_(1, generator=group.generator)
        drawn = (probs / exponential).argmax(-1, keepdim=True)
        best[rows, 0, :1] = drawn.float()
        best[rows, 0, 1:] = logits[rows].log_softmax(-1).gather(1, drawn)
