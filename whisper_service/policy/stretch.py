"""The parts of a stream that are to become text, each decoded on its own.

Owns where a part begins and ends, padding included.
"""

from dataclasses import dataclass

from whisper_service.policy.endpoint import Utterance, VadOptions


@dataclass(slots=True, eq=False)
class Stretch:
    """An utterance, or the part of one that `finalize` cut; without VAD, all there is."""

    begin: int
    utterance: Utterance | None
    is_first: bool = True
    """Of its utterance: its beginning is told."""
    closed_at: int | None = None
    """Where the stream was when `finalize` or `stop` closed this."""
    _closed_end: int = 0
    _closed_speech_end: int = 0

    def close(self, position: int, vad: VadOptions) -> None:
        """End at `position`, or earlier if there has been silence for longer than the pad."""
        silent_since = self.utterance.silent_since if self.utterance else None
        self._closed_speech_end = position if silent_since is None else silent_since
        self._closed_end = min(position, self._closed_speech_end + vad.pad_after)
        self.closed_at = position

    def end(self, vad: VadOptions) -> int | None:
        """Return where this ends; None while that is open."""
        if self.closed_at is not None:
            return self._closed_end
        if self.utterance is not None and self.utterance.ended_at is not None:
            assert self.utterance.silent_since is not None
            return self.utterance.silent_since + vad.pad_after
        return None

    def speech_end(self) -> int:
        """Return where the last speech in it ended; only for one that has ended."""
        if self.closed_at is not None:
            return self._closed_speech_end
        assert self.utterance is not None
        assert self.utterance.silent_since is not None
        return self.utterance.silent_since

    def silent_since(self) -> int | None:
        """Return where the silence began that lasts still."""
        if self.utterance is None or self.closed_at is not None:
            return None
        return self.utterance.silent_since
