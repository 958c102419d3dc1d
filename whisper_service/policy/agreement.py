"""Which words of successive hypotheses can be relied on.

LocalAgreement-2 (Macháček et al., arXiv:2307.14743): what two successive hypotheses of growing
audio begin with alike is confirmed. Differs from the paper in two ways: the last word of the older
hypothesis never counts, since the end of its audio may have cut it; and hypotheses are aligned with
the confirmed words by edit distance, so that this works without word times.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Thai, Lao, Burmese, Khmer, kana, Chinese characters: scripts without spaces between words."""
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}][^\s\w]*|[^\s{_UNSPACED}]+)")
_NOT_LETTERS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Heard:
    """A word as one hypothesis has it. Samples from the start of the stream."""

    text: str
    """With its leading space, so that words join to text."""
    start: int
    end: int
    probability: float = 1.0

    @property
    def middle(self) -> int:
        """Where the word counts as being."""
        return (self.start + self.end) // 2

    @property
    def key(self) -> str:
        """What is compared where spelling is not the point."""
        return spelling(self.text)


def spelling(text: str) -> str:
    """Return the letters of a text alone: no case, no punctuation, no spaces."""
    return _NOT_LETTERS.sub("", text.casefold())


def split_words(text: str) -> list[str]:
    """Split so that the pieces join to `text`; each character is a word in unspaced scripts."""
    words = _WORD.findall(text)
    rest = text[sum(map(len, words)) :]
    if rest and words:
        words[-1] += rest
    return words


def join(words: Sequence[Heard]) -> str:
    """Return the text of words."""
    return "".join(word.text for word in words)


def align_prefix(known: Sequence[Heard], heard: Sequence[Heard]) -> int:
    """Return how many words of `heard` say what `known` says (least edit distance).

    Of equally good answers the one closest to `len(known)` counts.
    """
    costs = _edit_costs([w.key for w in known], [w.key for w in heard])[-1]
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
        self.stable: list[Heard] = []
        self._rest: list[Heard] = []
        """Of the last hypothesis, what follows `stable`."""
        self._n_whole = 0
        """How many words of it may be confirmed next."""

    @property
    def text(self) -> str:
        """What was last heard after the last final."""
        return join(self.stable) + join(self._rest)

    def hear(self, words: Sequence[Heard], *, is_complete: bool) -> list[Heard]:
        """Take a hypothesis of all audio after the last final; return its unstable rest.

        `is_complete`: its audio ends in silence, so its last word was not cut.
        """
        rest = list(words[align_prefix(self.stable, words) :])
        n_agreed = 0
        for old, new in zip(self._rest[: self._n_whole], rest, strict=False):
            if old.text != new.text:
                break
            n_agreed += 1
        self.stable += rest[:n_agreed]
        rest = rest[n_agreed:]
        self._rest, self._n_whole = rest, len(rest) if is_complete else max(0, len(rest) - 1)
        return rest

    def merge(self, words: Sequence[Heard]) -> list[Heard]:
        """Return `words` beginning with all that is stable: what was told is not taken back.

        Times are those of `words`, which heard more, where it has as many.
        """
        n_words = align_prefix(self.stable, words)
        stable = self.stable
        if n_words == len(stable):
            stable = [replace(w, text=s.text) for s, w in zip(stable, words, strict=False)]
        return stable + list(words[n_words:])

    def clear(self) -> None:
        """Forget all; the next hypothesis is of other speech."""
        self.stable, self._rest, self._n_whole = [], [], 0
