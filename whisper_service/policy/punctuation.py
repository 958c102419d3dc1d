"""Marks around words, which Whisper joins to them: which end a sentence, how to take them off."""

_ENDS = ".!?…。！？"
_MARKS = _ENDS + ",;:-—–、，；："
"""Those that depend on what follows; quotation marks and brackets do not."""


def ends_sentence(word: str) -> bool:
    """Whether a sentence is over with `word`."""
    return word.rstrip(" \"'”’»」)")[-1:] in tuple(_ENDS)


def split_trailing(text: str) -> tuple[str, str]:
    """Return `text` without the marks it ends with, and those."""
    body = text.rstrip(_MARKS)
    return body, text[len(body) :]


def without_leading(text: str) -> str:
    """Return `text` without the marks it begins with."""
    return text.lstrip(_MARKS)


def is_marked(text: str) -> bool:
    """Whether `text` ends with a mark."""
    return text[-1:] in tuple(_MARKS)
