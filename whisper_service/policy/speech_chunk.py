"""A chunk of a stream that holds speech and is transcribed on its own, as in faster-whisper.

Owns where the chunk begins and ends, padding included. Positions are samples.
"""

from dataclasses import dataclass

from whisper_service.policy.endpoint import Utterance, VadOptions


@dataclass(slots=True, eq=False)
class SpeechChunk:
    """An utterance or, where `finalize` cut one, a part of it. Without VAD, the whole stream."""

    begin: int
    utterance: Utterance | None
    is_first: bool = True
    """Whether it is the first of its utterance, at which speech starts."""
    closed_at: int | None = None
    """The stream's position when `finalize` or `stop` closed the chunk."""
    _closed_end: int = 0
    _closed_speech_end: int = 0

    def close(self, position: int, vad: VadOptions) -> None:
        """End at `position`, or earlier after a silence longer than the padding."""
        silent_since = self.utterance.silent_since if self.utterance else None
        self._closed_speech_end = position if silent_since is None else silent_since
        self._closed_end = min(position, self._closed_speech_end + vad.pad_after)
        self.closed_at = position

    def end(self, vad: VadOptions) -> int | None:
        """Return where the chunk ends; None while it is open."""
        if self.closed_at is not None:
            return self._closed_end
        if self.utterance is not None and self.utterance.ended_at is not None:
            assert self.utterance.silent_since is not None
            return self.utterance.silent_since + vad.pad_after
        return None

    def speech_end(self) -> int:
        """Return where the last speech in a chunk that has ended ended, without padding."""
        if self.closed_at is not None:
            return self._closed_speech_end
        assert self.utterance is not None
        assert self.utterance.silent_since is not None
        return self.utterance.silent_since

    def silent_since(self) -> int | None:
        """Return where the current pause began; None during speech and once closed."""
        if self.utterance is None or self.closed_at is not None:
            return None
        return self.utterance.silent_since
