"""When somebody speaks: probabilities of speech to utterances, with hysteresis.

Owns the rule, in the terms of Silero's and faster-whisper's `VadOptions`; the detector itself, the
audio and what is done with an utterance belong to others. Positions are samples.
"""

from dataclasses import dataclass, field

from whisper_service.types import SAMPLE_RATE


def _samples(milliseconds: int) -> int:
    return milliseconds * SAMPLE_RATE // 1000


@dataclass(frozen=True, slots=True)
class VadOptions:
    """Names and meanings as in faster-whisper."""

    threshold: float = 0.5
    """A frame above it is speech."""
    neg_threshold: float = 0.35
    """A frame below it is silence; between the two nothing changes. Silero's own distance."""
    min_speech_duration_ms: int = 64
    """Two frames. Short words must pass; a click lights up a single frame."""
    min_silence_duration_ms: int = 160
    """Five frames: the least silence that is a pause and not a plosive's closure."""
    speech_pad_before_ms: int = 320
    """Silero answers 50 to 150 ms late, and a soft onset (f, h, s) later still."""
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
    """Silence within an utterance; `end` is where the detector heard speech again."""

    start: int
    end: int


@dataclass(slots=True, eq=False)
class Utterance:
    """Speech from the first frame of it to the silence that ended it."""

    start: int
    pauses: list[Pause] = field(default_factory=list)
    silent_since: int | None = None
    """Where the silence began that lasts still; the end of speech once `ended_at` is set."""
    ended_at: int | None = None
    """The position at which the silence had lasted for `endpoint_silence`."""

    def forget_before(self, position: int) -> None:
        """Drop the pauses that ended by `position`."""
        self.pauses = [pause for pause in self.pauses if pause.end > position]

    def speech_after(self, position: int, *, ignored: int) -> int | None:
        """Return where speech is heard again, if at `position` there is a pause; else that.

        Speech of up to `ignored` before the pause does not count. None: the pause lasts still.
        """
        if self.silent_since is not None and self.silent_since <= position + ignored:
            return None
        for pause in reversed(self.pauses):
            if pause.start <= position + ignored and pause.end > position:
                return pause.end
        return position


class Endpointer:
    """Probabilities in; `push` returns each utterance that begins, and then keeps it up to date."""

    def __init__(
        self, *, frame_samples: int, endpoint_silence: float, options: VadOptions, position: int = 0
    ) -> None:
        self._options = options
        self._frame = frame_samples
        self._endpoint_silence = round(endpoint_silence * SAMPLE_RATE)
        self._min_speech = _samples(options.min_speech_duration_ms)
        self._min_silence = options.min_silence
        self.position = position
        """After the last frame judged."""
        self.utterance: Utterance | None = None
        self._candidate: int | None = None
        """First frame of what may become an utterance."""
        self._n_voiced = 0
        self._last_voiced = position

    def push(self, probability: float) -> Utterance | None:
        """Judge the next frame; return the utterance that began with it, if one did."""
        begun = None
        if self.utterance is not None:
            self._hear_speech(self.utterance, probability)
        elif self._hear_silence(probability):
            begun = self._begin()
        self.position += self._frame
        self._end_utterance()
        return begun

    def flush(self) -> Utterance | None:
        """Take what may be the beginning of speech for it, since nothing will follow."""
        return None if self._candidate is None else self._begin()

    def _begin(self) -> Utterance:
        assert self._candidate is not None
        self.utterance = Utterance(self._candidate)
        self._candidate, self._n_voiced = None, 0
        return self.utterance

    def _hear_silence(self, probability: float) -> bool:
        """Return whether speech has now lasted long enough to be some."""
        if probability >= self._options.threshold:
            if self._candidate is None:
                self._candidate = self.position
            self._n_voiced += 1
            self._last_voiced = self.position + self._frame
        elif self.position + self._frame - self._last_voiced >= self._min_silence:
            self._candidate, self._n_voiced = None, 0
        return self._n_voiced * self._frame >= self._min_speech

    def _hear_speech(self, utterance: Utterance, probability: float) -> None:
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
