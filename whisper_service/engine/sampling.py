"""How one decode picks its tokens: greedy, sampled or by beam search, as openai-whisper does.

A search takes the candidates of each of its rows and answers which rows go on, from which, with
which token. Plain numbers; it knows nothing of slots, caches and other jobs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Beam:
    """What a row has sampled so far."""

    tokens: tuple[int, ...] = ()
    sum_logprob: float = 0.0
    last_time: int | None = None
    """The last timestamp in `tokens`."""


@dataclass(frozen=True, slots=True)
class Candidate:
    token: int
    logprob: float


class Search(Protocol):
    """One decode at one temperature."""

    width: int
    """Rows it takes at the most."""
    n_candidates: int
    """How many candidates it wants of each row; with `temperature`, one is drawn."""
    temperature: float
    rows: list[Beam]
    """The rows that go on; none when it is over."""

    def advance(self, candidates: Sequence[Sequence[Candidate]]) -> list[int]:
        """Take the candidates of each row, best first; answer which row each new row continues."""

    def best(self) -> Beam:
        """The answer, without the end-of-text token; its log-probability counts."""


@dataclass(slots=True)
class SpecialTokens:
    """The tokens that mean something to a search."""

    eot: int
    time_begin: int

    def extended(self, beam: Beam, candidate: Candidate) -> Beam:
        """`beam` and one more token; the end of text counts, but is not kept."""
        total = beam.sum_logprob + candidate.logprob
        if candidate.token == self.eot:
            return replace(beam, sum_logprob=total)
        is_time = candidate.token >= self.time_begin
        return Beam(
            (*beam.tokens, candidate.token),
            total,
            candidate.token if is_time else beam.last_time,
        )


@dataclass(slots=True)
class Sampling:
    """Greedy at temperature 0; else `width` independent samples, of which the best is taken."""

    special: SpecialTokens
    max_tokens: int
    temperature: float = 0.0
    width: int = 1
    length_penalty: float | None = None
    n_candidates: int = 1
    rows: list[Beam] = field(default_factory=list)
    _done: list[tuple[int, Beam]] = field(default_factory=list)
    _numbers: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows = [Beam()] * self.width
        self._numbers = list(range(self.width))

    def advance(self, candidates: Sequence[Sequence[Candidate]]) -> list[int]:
        going: list[int] = []
        rows, numbers = [], []
        for index, (beam, number) in enumerate(zip(self.rows, self._numbers, strict=True)):
            candidate = candidates[index][0]
            grown = self.special.extended(beam, candidate)
            if candidate.token == self.special.eot or len(grown.tokens) >= self.max_tokens:
                self._done.append((number, grown))
                continue
            going.append(index)
            rows.append(grown)
            numbers.append(number)
        self.rows, self._numbers = rows, numbers
        return going

    def best(self) -> Beam:
        in_order = [beam for _, beam in sorted(self._done, key=lambda done: done[0])]
        return max(in_order, key=lambda beam: score(beam, self.length_penalty))


@dataclass(slots=True)
class BeamSearch:
    """Beam search; `patience` lets it go on for more finished candidates than it has beams."""

    special: SpecialTokens
    max_tokens: int
    width: int
    patience: float = 1.0
    length_penalty: float | None = None
    temperature: float = 0.0
    n_candidates: int = 0
    rows: list[Beam] = field(default_factory=list)
    _finished: list[Beam] = field(default_factory=list)
    _n_steps: int = 0

    def __post_init__(self) -> None:
        self.n_candidates = self.width + 1  # one of them may be the end
        self.rows = [Beam()]

    def advance(self, candidates: Sequence[Sequence[Candidate]]) -> list[int]:
        sources: list[int] = []
        rows: list[Beam] = []
        finished: list[Beam] = []
        for index, candidate in self._ranked(candidates):
            grown = self.special.extended(self.rows[index], candidate)
            if candidate.token == self.special.eot:
                finished.append(grown)
                continue
            rows.append(grown)
            sources.append(index)
            if len(rows) == self.width:
                break
        self.rows = rows
        self._n_steps += 1
        room = max(0, round(self.width * self.patience) - len(self._finished))
        self._finished += finished[:room]
        if len(finished) >= room or self._n_steps >= self.max_tokens:
            self._stop()
        return sources if self.rows else []

    def best(self) -> Beam:
        return max(self._finished, key=lambda beam: score(beam, self.length_penalty))

    def _ranked(self, candidates: Sequence[Sequence[Candidate]]) -> list[tuple[int, Candidate]]:
        flat = [(row, candidate) for row, some in enumerate(candidates) for candidate in some]
        return sorted(
            flat, key=lambda pair: self.rows[pair[0]].sum_logprob + pair[1].logprob, reverse=True
        )

    def _stop(self) -> None:
        """The best unfinished rows fill up what is missing of finished ones."""
        best_first = sorted(self.rows, key=lambda beam: beam.sum_logprob, reverse=True)
        missing = max(0, self.width - len(self._finished))
        self._finished += best_first[:missing]
        self.rows = []


def score(beam: Beam, length_penalty: float | None) -> float:
    """Rank by mean log-probability, or by Google NMT's length penalty (arXiv:1609.08144, eq. 14).

    The end-of-text token does not count as length.
    """
    length = len(beam.tokens)
    if length_penalty is None:
        return beam.sum_logprob / max(1, length)
    penalty: float = ((5 + length) / 6) ** length_penalty
    return beam.sum_logprob / penalty
