"""The text before a window that its decode is conditioned on: the end of what is final already.

As `condition_on_previous_text` of openai-whisper, but shorter. A small file: both the event log,
which puts the context into each final's state, and the sentence window need it.
"""

from whisper_service.types import Segment

_MAX_LENGTH = 200
"""Characters, some 50 tokens of the 223 that a prompt may have: a longer context slows down each
decode and keeps errors alive."""
_MAX_TEMPERATURE = 0.5
"""Text sampled at a higher temperature is no context, as in openai-whisper."""


def next_context(context: str, final: Segment) -> str:
    """Return the context after `final`: the last whole words, or "" after a doubtful decode."""
    if final.temperature > _MAX_TEMPERATURE:
        return ""
    return last_words(context + final.text)


def last_words(text: str) -> str:
    """Return the last whole words of `text`, at most 200 characters."""
    text = text.strip()
    if len(text) <= _MAX_LENGTH:
        return text
    tail = text[-_MAX_LENGTH:]
    return tail[tail.find(" ") + 1 :]
