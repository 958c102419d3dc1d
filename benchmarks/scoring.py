"""Word errors of transcripts, by the field's rules.

Both sides pass openai-whisper's normalizers, then jiwer aligns them. A rate is of a whole corpus:
errors of all its files over words of all its files. Chinese and Japanese, which write no spaces,
are scored by character. Knows nothing of files, engines or time.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import jiwer
from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

_ENGLISH = EnglishTextNormalizer()
_BASIC = BasicTextNormalizer()
_BY_CHARACTER = BasicTextNormalizer(split_letters=True)
_WITHOUT_SPACES = ("zh", "ja")


@dataclass(frozen=True, slots=True)
class Pair:
    """What was spoken and what an engine wrote of it."""

    reference: str
    hypothesis: str
    language: str


@dataclass(frozen=True, slots=True)
class Score:
    """Errors against `n_words` words of reference (characters in Chinese and Japanese)."""

    n_words: int
    substitutions: int
    deletions: int
    insertions: int
    longest_insertion: str
    """The longest run of words nobody spoke: where a hallucination or a loop shows first."""

    @property
    def wer(self) -> float:
        """In percent; above 100 where more was inserted than spoken."""
        return 100 * (self.substitutions + self.deletions + self.insertions) / max(self.n_words, 1)


def score(pairs: Iterable[Pair]) -> Score:
    """Align each pair for itself and add up."""
    found = list(pairs)
    aligned = jiwer.process_words(
        [normalise(pair.reference, pair.language) for pair in found],
        [normalise(pair.hypothesis, pair.language) for pair in found],
    )
    inserted = [
        " ".join(words[chunk.hyp_start_idx : chunk.hyp_end_idx])
        for words, chunks in zip(aligned.hypotheses, aligned.alignments, strict=True)
        for chunk in chunks
        if chunk.type == "insert"
    ]
    return Score(
        n_words=aligned.hits + aligned.substitutions + aligned.deletions,
        substitutions=aligned.substitutions,
        deletions=aligned.deletions,
        insertions=aligned.insertions,
        longest_insertion=max(inserted, key=len, default=""),
    )


def normalise(text: str, language: str) -> str:
    """Lower case, no punctuation, numbers and spellings alike; without any word a single space."""
    if language == "en":
        return _ENGLISH(text) or " "
    return (_BY_CHARACTER if language in _WITHOUT_SPACES else _BASIC)(text) or " "
