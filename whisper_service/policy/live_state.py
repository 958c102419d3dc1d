"""The state of a live stream at one moment, and the decision it asks for: what to decode next.

Pure: the plan takes a `LiveState`, reads it and changes nothing of it. Positions are samples from
the start of the stream.
"""

from dataclasses import dataclass, replace

from whisper_service.policy.cursor import Cursor
from whisper_service.policy.endpoint import VadOptions
from whisper_service.policy.planned_window import Purpose
from whisper_service.policy.speech_chunk import SpeechChunk
from whisper_service.types import SAMPLE_RATE, StreamConfig

MAX_PAUSE = 3 * SAMPLE_RATE
"""3 s: speech after a longer pause is decoded without the speech before it."""
_FIRST_PARTIAL = SAMPLE_RATE // 2
"""0.5 s: Whisper finds no word in less, and nobody should wait longer for the first one."""
_RETRY = SAMPLE_RATE // 2
"""0.5 s, a long word: after a forced cut that found no final word, so much more audio comes in
before the next one."""
NEGLIGIBLE_SPEECH = SAMPLE_RATE // 8
"""125 ms of speech after a boundary: the detector finds the end of the word before it late."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What a stream's configuration says about timing, in samples."""

    vad: VadOptions
    chunk_duration: int
    partial_interval: int
    """Between partials; 0 for none."""
    has_word_times: bool
    """False for a translation: its words have no place in the audio, so it is final at pauses."""

    @classmethod
    def of(cls, config: StreamConfig) -> "StreamLimits":
        """Return the limits of a configuration, whose durations are seconds."""
        vad = VadOptions()
        pad_after_ms = min(vad.speech_pad_after_ms, round(config.endpoint_silence * 1000))
        return cls(
            vad=replace(vad, speech_pad_after_ms=pad_after_ms),
            chunk_duration=round(config.chunk_duration * SAMPLE_RATE),
            partial_interval=round(config.partial_interval * SAMPLE_RATE),
            has_word_times=config.decode.task == "transcribe",
        )


@dataclass(frozen=True, slots=True)
class LiveState:
    """A snapshot. Properties that are None have no position yet."""

    limits: StreamLimits
    cursor: Cursor
    chunk: SpeechChunk | None
    """The speech that is being transcribed; None in silence."""
    processed: int
    """The position up to which speech was detected."""
    window_end: int
    """The position up to which the current window can hold audio."""

    @property
    def reach(self) -> int:
        """The position up to which the next job can decode."""
        return min(self.processed, self.window_end)

    @property
    def chunk_end(self) -> int | None:
        """The position at which the chunk ended."""
        return None if self.chunk is None else self.chunk.end(self.limits.vad)

    @property
    def is_at_endpoint(self) -> bool:
        """Whether the chunk ended and one job can decode all of the rest of it."""
        return self.chunk_end is not None and self.chunk_end <= self.reach

    @property
    def silent_since(self) -> int | None:
        """The position at which the current pause began."""
        return None if self.chunk is None else self.chunk.silent_since()

    @property
    def pause_end(self) -> int | None:
        """The end of new speech before the current pause, padding included, once received."""
        silent_since = self.silent_since
        if silent_since is None or silent_since - self.cursor.committed <= NEGLIGIBLE_SPEECH:
            return None
        end = silent_since + self.limits.vad.pad_after
        return end if end <= self.reach else None

    @property
    def resumes_at(self) -> int | None:
        """The position at which speech goes on after the last commit; None during a pause."""
        committed, chunk = self.cursor.committed, self.chunk
        if chunk is None or chunk.utterance is None or committed <= chunk.begin:
            return committed
        return chunk.utterance.speech_after(committed, ignored=NEGLIGIBLE_SPEECH)

    @property
    def new_begin(self) -> int | None:
        """Where speech after a long pause begins, padding included, if it needs a new window."""
        if self.resumes_at is None:
            return None
        begin = self.resumes_at - self.limits.vad.pad_before
        return begin if begin > self.cursor.committed + MAX_PAUSE else None

    @property
    def is_due(self) -> bool:
        """Whether some of the open chunk has to become final."""
        if self.processed >= self.window_end:
            return True
        since = self.resumes_at
        if since is None or (not self.limits.has_word_times and self.pause_end is None):
            return False
        if self.cursor.attempted > self.cursor.committed:
            return self.processed >= self.cursor.attempted + _RETRY
        return self.processed >= since + self.limits.chunk_duration

    @property
    def is_final_due(self) -> bool:
        """Whether a final, or the speculative decode of one, is waiting for the decoder."""
        if self.chunk is None:
            return False
        return self.chunk_end is not None or self.is_due or self.pause_end is not None

    def next_window(self) -> tuple[Purpose, int] | None:
        """Return the purpose and the end of the window to decode now: finals before partials."""
        if self.chunk is None:
            return None
        if self.chunk_end is not None and self.is_at_endpoint:
            return Purpose.ENDPOINT, self.chunk_end
        is_due = self.is_due
        if self.silent_since is not None:
            purpose = Purpose.PAUSE if is_due else Purpose.SPECULATIVE
            return None if self.pause_end is None else (purpose, self.pause_end)
        if is_due:
            return Purpose.FORCED, self.reach
        return (Purpose.PARTIAL, self.reach) if self._is_partial_due else None

    @property
    def _is_partial_due(self) -> bool:
        interval, cursor = self.limits.partial_interval, self.cursor
        due = cursor.last_partial + min(interval, _FIRST_PARTIAL)
        if cursor.has_partial:
            due = max(cursor.last_partial + interval, cursor.backoff_until)
        return bool(interval) and self.reach >= due

    def backlog(self, received: int, first_begin: int) -> float:
        """Return the seconds of speech that wait for a final beyond `chunk_duration`.

        `received`: samples of the stream so far. `first_begin`: where its first open chunk begins.
        """
        if self.resumes_at is None:
            return 0.0
        begin = max(self.cursor.committed, self.cursor.attempted, first_begin)
        return max(0.0, (received - begin - self.limits.chunk_duration) / SAMPLE_RATE)
