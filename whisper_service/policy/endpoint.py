"""Turns probabilities of speech into utterances, with hysteresis.

Owns the rule, in the terms of Silero's and faster-whisper's `VadOptions`. Knows neither the
detector nor the audio. Positions are samples.
"""

from dataclasses import dataclass, field

from whisper_service.types import SAMPLE_RATE


def _samples(milliseconds: int) -> int:
    return milliseconds * SAMPLE_RATE // 1000


@dataclass(frozen=True, slots=True)
class VadOptions:
    """Names and meanings as in faster-whisper."""

    threshold: float = 0.5
    """A frame with at least this probability is speech."""
    neg_threshold: float = 0.35
    """A frame below it is silence; between the two nothing changes. The distance is Silero's."""
    min_speech_duration_ms: int = 64
    """Two frames. Short words must pass; a click lights up a single frame."""
    min_silence_duration_ms: int = 160
    """Five frames: a shorter silence may be the closure of a plosive."""
    speech_pad_before_ms: int = 320
    """Silero detects speech 50 to 150 ms late, and a soft onset (f, h, s) later still."""
    speech_pad_after_ms: int = 200
    """A word's last consonant may fade below the threshold before it is over."""

    @property
    def min_silence(self) -> int:
        """`min_silence_duration_ms` in samples."""
        return _samples(self.min_silence_duration_ms)

    @property
    def pad_before(self) -> int:
        """`speech_pad_before_ms` in samples."""
        return _samples(self.speech_pad_before_ms)

    @property
    def pad_after(self) -> int:
        """`speech_pad_after_ms` in samples."""
        return _samples(self.speech_pad_after_ms)


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence within an utterance; speech begins again at `end`."""

    start: int
    end: int


@dataclass(slots=True, eq=False)
class Utterance:
    """Speech, from its first frame to the silence that ends it."""

    start: int
    pauses: list[Pause] = field(default_factory=list)
    silent_since: int | None = None
    """Where the current silence began; the end of speech once `ended_at` is set."""
    ended_at: int | None = None
    """The position at which silence had lasted for `endpoint_silence`."""

    def forget_before(self, position: int) -> None:
        """Drop the pauses that ended by `position`."""
        self.pauses = [pause for pause in self.pauses if pause.end > position]

    def speech_after(self, position: int, *, ignored: int) -> int | None:
        """Return where the first speech after `position` begins; None if there is none yet.

        Within speech that is `position` itself. Up to `ignored` samples of speech before a pause
        count as part of the pause.
        """
        if self.silent_since is not None and self.silent_since <= position + ignored:
            return None
        for pause in reversed(self.pauses):
            if pause.start <= position + ignored and pause.end > position:
                return pause.end
        return position


class Endpointer:
    """`push` probabilities; an utterance that it returns is kept up to date by later calls."""

    def __init__(
        self, *, frame_samples: int, endpoint_silence: float, options: VadOptions, position: int = 0
    ) -> None:
        self._options = options
        self._frame = frame_samples
        self._endpoint_silence = round(endpoint_silence * SAMPLE_RATE)
        self._min_speech = _samples(options.min_speech_duration_ms)
        self._min_silence = options.min_silence
        self.position = position
        """The position after the last frame."""
        self.utterance: Utterance | None = None
        self._candidate: int | None = None
        """The first frame of speech that may become an utterance."""
        self._n_voiced = 0
        self._last_voiced = position

    def push(self, probability: float) -> Utterance | None:
        """Process the next frame; return the utterance that it began, if any."""
        begun = None
        if self.utterance is not None:
            self._push_in_speech(self.utterance, probability)
        elif self._push_in_silence(probability):
            begun = self._begin()
        self.position += self._frame
        self._end_utterance()
        return begun

    def flush(self) -> Utterance | None:
        """End the audio; return the utterance that the last frames began, if any."""
        return None if self._candidate is None else self._begin()

    def _begin(self) -> Utterance:
        assert self._candidate is not None
        self.utterance = Utterance(self._candidate)
        self._candidate, self._n_voiced = None, 0
        return self.utterance

    def _push_in_silence(self, probability: float) -> bool:
        """Return whether speech has lasted long enough to begin an utterance."""
        if probability >= self._options.threshold:
            if self._candidate is None:
                self._candidate = self.position
            self._n_voiced += 1
            self._last_voiced = self.position + self._frame
        elif self.position + self._frame - self._last_voiced >= self._min_silence:
            self._candidate, self._n_voiced = None, 0
        return self._n_voiced * self._frame >= self._min_speech

    def _push_in_speech(self, utterance: Utterance, probability: float) -> None:
        silent_since = utterance.silent_since
        if probability >= self._options.threshold:
            if silent_since is not None and self.position - silent_since >= self._min_silence:
                utterance.pauses.append(Pause(silent_since, self.position))
            utterance.silent_since = None
        elif probability < self._options.neg_threshold and silent_since is None:
            utterance.silent_since = self.position

    def _end_utterance(self) -> None:
        utterance = self.utterance
        if utterance is None or utterance.silent_since is None:
            return
        if self.position - utterance.silent_since >= self._endpoint_silence:
            utterance.ended_at = self.position
            self.utterance = None
            self._last_voiced = utterance.silent_since
