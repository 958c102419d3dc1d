"""The text of words: where it splits into words, what of it is letters, what punctuation.

Whisper joins punctuation to the word beside it, and a space to the word after it.
"""

import re

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Thai, Lao, Burmese, Khmer, kana, Chinese characters: scripts without spaces between words."""
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}][^\s\w]*|[^\s{_UNSPACED}]+)")
_NOT_LETTERS = re.compile(r"[\W_]+")
_ENDS = ".!?…。！？"
_MARKS = _ENDS + ",;:-—–、，；："
"""Punctuation that depends on what follows; quotation marks and brackets do not."""


def split_words(text: str) -> list[str]:
    """Split into pieces that join to `text`; in scripts without spaces each character is a word."""
    words = _WORD.findall(text)
    rest = text[sum(map(len, words)) :]
    if rest and words:
        words[-1] += rest
    return words


def normalized(text: str) -> str:
    """Return only the letters and digits of `text`, case folded."""
    return _NOT_LETTERS.sub("", text.casefold())


def ends_sentence(word: str) -> bool:
    """Whether `word` ends with a full stop or its like, quotation marks and brackets aside."""
    return word.rstrip(" \"'”’»」)")[-1:] in tuple(_ENDS)


def split_trailing_marks(text: str) -> tuple[str, str]:
    """Return `text` without the punctuation at its end, and that punctuation."""
    body = text.rstrip(_MARKS)
    return body, text[len(body) :]


def without_leading_marks(text: str) -> str:
    """Return `text` without the punctuation at its beginning."""
    return text.lstrip(_MARKS)


def ends_with_mark(text: str) -> bool:
    """Whether `text` ends with punctuation."""
    return text[-1:] in tuple(_MARKS)
