"""The language of a stream: a vote of its first decodes, until it is known."""

from whisper_service.types import SAMPLE_RATE

_ENOUGH_SPEECH = 2 * SAMPLE_RATE
"""2 s: Whisper guesses the language of a single word badly."""


class LanguageVote:
    """The requested language, or the majority of the first 2 s of speech.

    Votes are weighted by duration and probability, as in faster-whisper's `detect_language`.
    """

    def __init__(self, known: str | None, probability: float) -> None:
        self.known = known
        """ISO 639-1 code for the next jobs; None lets the engine detect the language."""
        self.probability = (probability or 1.0) if known else 0.0
        self._votes: dict[str, float] = {}
        self._n_samples = 0

    def add(self, language: str, probability: float, n_samples: int) -> None:
        """Count the language that a decode of `n_samples` of speech detected."""
        if self.known is not None:
            return
        self._votes[language] = self._votes.get(language, 0.0) + probability * n_samples
        self._n_samples += n_samples
        if self._n_samples >= _ENOUGH_SPEECH:
            self.known = max(self._votes, key=self._votes.__getitem__)
            self.probability = self._votes[self.known] / self._n_samples
