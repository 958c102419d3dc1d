"""From masked logits to the tokens a search may go on with: one read from the device for all."""

from collections.abc import Sequence

import torch
from torch import Tensor

from whisper_service.engine.cpu import topk
from whisper_service.engine.run import Run
from whisper_service.engine.sampling import Candidate


def choose(logits: Tensor, runs: Sequence[Run]) -> list[list[Candidate]]:
    """Choose each row's candidates from masked logits float32 [R, V], those of a run side by
    side."""
    best = _best(logits, max(run.search.n_candidates for run in runs))
    starts, n_rows = [], 0
    for run in runs:
        starts.append(n_rows)
        n_rows += len(run.search.rows)
    draw(best, logits, runs, starts)
    read = best.tolist()
    return [
        candidates(row, run)
        for run, start in zip(runs, starts, strict=True)
        for row in read[start : start + len(run.search.rows)]
    ]


def likeliest(logits: Tensor) -> list[Candidate]:
    """Choose each row's likeliest token from masked logits float32 [R, V]."""
    return [Candidate(int(token), logprob) for [[token, logprob]] in _best(logits, 1).tolist()]


def _best(logits: Tensor, n: int) -> Tensor:
    """Choose each row's `n` likeliest; -> float32 [R, n, 2], (token, log-probability) pairs."""
    values, tokens = topk(logits.log_softmax(-1), n)  # in one pass; logsumexp takes three
    # A token fits a float32 exactly, so that tokens and log-probabilities are one copy.
    return torch.stack([tokens.float(), values], dim=-1)


def candidates(row: Sequence[Sequence[float]], run: Run) -> list[Candidate]:
    """What was read of one row, (token, log-probability) pairs, as far as its search wants it."""
    return [Candidate(int(token), logprob) for token, logprob in row[: run.search.n_candidates]]


def draw(best: Tensor, logits: Tensor, runs: Sequence[Run], starts: Sequence[int]) -> None:
    """Put a drawn token in front of `best` float32 [R, k, 2] in the rows of runs that sample.

    `starts`: each run's first row. What `torch.multinomial` draws, which reads from the device
    twice to see whether its chances are sound.
    """
    for run, start in zip(runs, starts, strict=True):
        if run.search.temperature <= 0:
            continue
        rows = slice(start, start + len(run.search.rows))
        chances = (logits[rows] / run.search.temperature).softmax(-1)
        race = torch.empty_like(chances).exponential_(1, generator=run.generator)
        drawn = (chances / race).argmax(-1, keepdim=True)
        best[rows, 0, :1] = drawn.float()
        best[rows, 0, 1:] = logits[rows].log_softmax(-1).gather(1, drawn)
