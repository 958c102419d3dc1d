"""Counting errors: which words of a transcript are right, and where its segments begin and end."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tools.demo_model.espeak import SAMPLE_RATE, SpokenWord


@dataclass(frozen=True, slots=True)
class WordErrors:
    n_errors: int
    n_words: int

    def __add__(self, other: "WordErrors") -> "WordErrors":
        return WordErrors(self.n_errors + other.n_errors, self.n_words + other.n_words)

    @property
    def rate(self) -> float:
        return self.n_errors / max(1, self.n_words)


def words_in(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def word_errors(truth: str, heard: str) -> WordErrors:
    n_words = len(words_in(truth))
    return WordErrors(_distances(words_in(truth), words_in(heard))[-1][-1], n_words)


def _distances(truth: Sequence[str], heard: Sequence[str]) -> list[list[int]]:
    """Edit distances [len(truth) + 1][len(heard) + 1] of all beginnings."""
    rows = [list(range(len(heard) + 1))]
    for i, word in enumerate(truth, 1):
        row = [i]
        for j, other in enumerate(heard, 1):
            changed = rows[-1][j - 1] + (word != other)
            row.append(min(changed, rows[-1][j] + 1, row[-1] + 1))
        rows.append(row)
    return rows


def aligned(truth: Sequence[str], heard: Sequence[str]) -> dict[int, int]:
    """heard index -> truth index, of the words that an optimal alignment finds equal."""
    rows, i, j = _distances(truth, heard), len(truth), len(heard)
    found = {}
    while i and j:
        if truth[i - 1] == heard[j - 1] and rows[i][j] == rows[i - 1][j - 1]:
            found[j - 1] = i - 1
            i, j = i - 1, j - 1
        elif rows[i][j] == rows[i - 1][j - 1] + 1:
            i, j = i - 1, j - 1
        elif rows[i][j] == rows[i - 1][j] + 1:
            i -= 1
        else:
            j -= 1
    return found


def segment_time_errors(
    truth: Sequence[SpokenWord], segments: Sequence[dict[str, Any]]
) -> list[float]:
    """Seconds between a segment's start and its first word's, its end and its last word's, where
    that word was heard right."""
    spans = [(s, words_in(s["text"])) for s in segments if words_in(s["text"])]
    heard = [word for _, words in spans for word in words]
    right = aligned([spoken.word.text for spoken in truth], heard)
    errors, first = [], 0
    for segment, words in spans:
        last = first + len(words) - 1
        if first in right:
            errors.append(abs(segment["start"] - truth[right[first]].start / SAMPLE_RATE))
        if last in right:
            errors.append(abs(segment["end"] - truth[right[last]].end / SAMPLE_RATE))
        first = last + 1
    return errors
