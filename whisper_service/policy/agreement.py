"""Which words of successive hypotheses can be relied on.

LocalAgreement-2 (Macháček et al., arXiv:2307.14743): the common beginning of two successive
hypotheses of growing audio is confirmed. Differs from the paper in two ways: the last word of the
older hypothesis never counts, since the end of its audio may have cut it; and hypotheses are
aligned with the confirmed words by edit distance, so that this works without word times.
"""

from collections.abc import Sequence
from dataclasses import replace

from whisper_service.policy.timed_words import TimedWord, join


def align_prefix(known: Sequence[TimedWord], words: Sequence[TimedWord]) -> int:
    """Return how many of the first `words` match all of `known` best, by edit distance.

    Of equally good matches the one closest to `len(known)` counts.
    """
    costs = _edit_costs([w.key for w in known], [w.key for w in words])[-1]
    return min(range(len(costs)), key=lambda k: (costs[k], abs(k - len(known))))


def _edit_costs(a: Sequence[str], b: Sequence[str]) -> list[list[int]]:
    """Levenshtein's table: [i][j] is the distance between `a[:i]` and `b[:j]`."""
    table = [list(range(len(b) + 1))]
    for i, left in enumerate(a, start=1):
        row = [i]
        for j, right in enumerate(b, start=1):
            row.append(min(table[-1][j] + 1, row[-1] + 1, table[-1][j - 1] + (left != right)))
        table.append(row)
    return table


class Agreement:
    """The confirmed words after the last final, and the last hypothesis to compare with."""

    def __init__(self) -> None:
        self.stable: list[TimedWord] = []
        self._rest: list[TimedWord] = []
        """The words of the last hypothesis that follow `stable`."""
        self._n_whole = 0
        """How many of `_rest` the next hypothesis may confirm."""

    @property
    def text(self) -> str:
        """The text of the last hypothesis, confirmed words first."""
        return join(self.stable) + join(self._rest)

    def update(self, words: Sequence[TimedWord], *, is_complete: bool) -> list[TimedWord]:
        """Take a hypothesis of all audio after the last final; return what to show of its rest.

        `is_complete`: its audio ends in silence, so its last word was not cut. One that may have
        been is shown once two hypotheses have it, or where it is the only word.
        """
        rest = list(words[align_prefix(self.stable, words) :])
        n_agreed = 0
        for old, new in zip(self._rest[: self._n_whole], rest, strict=False):
            if old.text != new.text:
                break
            n_agreed += 1
        before = self._rest[n_agreed:]
        self.stable += rest[:n_agreed]
        rest = rest[n_agreed:]
        self._rest, self._n_whole = rest, len(rest) if is_complete else max(0, len(rest) - 1)
        is_known = len(before) >= len(rest) > 0 and before[len(rest) - 1].key == rest[-1].key
        is_only = not self.stable and len(rest) == 1
        return rest if is_complete or is_known or is_only else rest[:-1]

    def merge(self, words: Sequence[TimedWord]) -> list[TimedWord]:
        """Return `words` with the stable words in place of those that they match.

        The times are those of `words`, whose decode had more audio, if as many words match.
        """
        n_words = align_prefix(self.stable, words)
        stable = self.stable
        if n_words == len(stable):
            stable = [replace(w, text=s.text) for s, w in zip(stable, words, strict=False)]
        return stable + list(words[n_words:])

    def clear(self) -> None:
        """Forget all words: the next hypothesis is of other speech."""
        self.stable, self._rest, self._n_whole = [], [], 0
