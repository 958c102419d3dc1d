"""What a stream carries from one final to the next: its language, and its last words as context.

Owns when a guess becomes knowledge; decodes nothing.
"""

from whisper_service.types import SAMPLE_RATE, Segment

_ENOUGH_SPEECH = 2 * SAMPLE_RATE
"""2 s: what language a single word is in, Whisper guesses badly."""
_MAX_CONTEXT = 200
"""Characters, some 50 tokens of the 223 a prompt may have: more slows each decode and lets an
error live on; openai-whisper's own limit is the 223."""
_MAX_TEMPERATURE = 0.5
"""Text sampled hotter is no context: `condition_on_previous_text`'s rule in openai-whisper."""


class LanguageMemory:
    """The language of a stream: asked for, or the one most of the first 2 s of speech was in."""

    def __init__(self, known: str | None, probability: float) -> None:
        self.known = known
        """What jobs are told; None lets the engine detect it."""
        self.probability = (probability or 1.0) if known else 0.0
        self._heard: dict[str, float] = {}
        self._n_samples = 0

    def hear(self, language: str, probability: float, n_samples: int) -> None:
        """Take what a decode of `n_samples` of speech, with some text, was said to be in."""
        if self.known is not None:
            return
        self._heard[language] = self._heard.get(language, 0.0) + probability * n_samples
        self._n_samples += n_samples
        if self._n_samples >= _ENOUGH_SPEECH:
            self.known = max(self._heard, key=self._heard.__getitem__)
            self.probability = self._heard[self.known] / self._n_samples


def next_context(context: str, final: Segment) -> str:
    """Return the context after `final`: its last whole words, or none if it was a bad decode."""
    if final.temperature > _MAX_TEMPERATURE:
        return ""
    return last_words(context + final.text)


def last_words(text: str) -> str:
    """Return the end of `text` that is context enough."""
    text = text.strip()
    if len(text) <= _MAX_CONTEXT:
        return text
    tail = text[-_MAX_CONTEXT:]
    return tail[tail.find(" ") + 1 :]
