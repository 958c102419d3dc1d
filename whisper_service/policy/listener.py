"""Turns a stream's audio into stretches to decode: the ears of a `StreamPlan`.

Owns the buffer, the detector and the order of stretches; knows nothing of hypotheses and text. It
hears in steps of one frame: a plan that decides after each step decides by the audio alone, not by
how that was cut on its way here.
"""

from collections import deque

import numpy as np

from whisper_service.audio.buffer import AudioBuffer
from whisper_service.audio.vad import SpeechDetector
from whisper_service.policy.endpoint import Endpointer, Utterance, VadOptions
from whisper_service.policy.stretch import Stretch
from whisper_service.types import SAMPLE_RATE, Audio

_FRAME = 512
"""32 ms, as Silero's, where there is no detector to say."""
_LOOK_BACK = SAMPLE_RATE
"""Kept of silence: the pad before speech and the frames in which it is not yet sure."""


class Listener:
    """`receive` audio, `step` through it, read `stretches` from the left, `pop` what is final."""

    def __init__(
        self,
        detector: SpeechDetector | None,
        *,
        endpoint_silence: float,
        vad: VadOptions,
        position: int,
    ) -> None:
        self.buffer = AudioBuffer(position)
        self.vad = vad
        self.stretches: deque[Stretch] = deque()
        self._detector = detector
        self._last_end = position
        self._probabilities: deque[float] = deque()
        self._frame = _FRAME if detector is None else detector.frame_samples
        self._origin = position
        self.heard = position
        """Position up to which it was heard: a whole number of frames, but for the very end."""
        self._endpointer: Endpointer | None = None
        if detector is None:
            self.stretches.append(Stretch(position, None))
        else:
            detector.reset()
            self._endpointer = Endpointer(
                frame_samples=detector.frame_samples,
                endpoint_silence=endpoint_silence,
                options=vad,
                position=position,
            )

    @property
    def received(self) -> int:
        """Position after the last sample received."""
        return self.buffer.end

    def receive(self, samples: Audio) -> None:
        """Take the next samples."""
        self.buffer.append(samples)
        if self._detector is not None:
            self._probabilities += self._detector.probabilities(samples)

    def step(self) -> bool:
        """Hear the next frame; return False if there is none yet."""
        if self.heard + self._frame > self.received:
            return False
        self._hear_frame()
        return True

    def close(self) -> None:
        """End the stretch that is open, here; its utterance goes on in a new one."""
        if self.stretches and self.stretches[-1].end(self.vad) is None:
            last = self.stretches[-1]
            last.close(self.heard, self.vad)
            self.stretches.append(Stretch(self.heard, last.utterance, is_first=False))

    def end(self) -> None:
        """Judge the unfinished frame as if silence followed, and end what is open."""
        rest = (self.received - self._origin) % self._frame
        if rest and self._detector is not None:
            silence = np.zeros(self._frame - rest, np.float32)
            self._probabilities += self._detector.probabilities(silence)
        while self.heard < self.received:
            self._hear_frame()
        if self._endpointer is not None and (utterance := self._endpointer.flush()) is not None:
            self._begin(utterance)
        if self.stretches:
            end = self.stretches[-1].end(self.vad)
            # An endpoint within the frame that was filled up lies past what there is.
            if end is None or end > self.received:
                self.stretches[-1].close(self.received, self.vad)

    def pop(self, end: int) -> None:
        """Forget the first stretch, which was decoded up to `end`."""
        self.stretches.popleft()
        self._last_end = max(self._last_end, end)
        if self.stretches:
            self.stretches[0].begin = max(self.stretches[0].begin, self._last_end)

    def discard_before(self, position: int | None) -> None:
        """Forget audio before `position`; None: what no stretch and no next utterance needs."""
        if position is None:
            begins = [self.heard - _LOOK_BACK, *(stretch.begin for stretch in self.stretches)]
            position = min(begins)
        self.buffer.discard_before(position)

    def _hear_frame(self) -> None:
        self.heard = min(self.heard + self._frame, self.received)
        if self._endpointer is not None:
            utterance = self._endpointer.push(self._probabilities.popleft())
            if utterance is not None:
                self._begin(utterance)

    def _begin(self, utterance: Utterance) -> None:
        begin = max(utterance.start - self.vad.pad_before, self.buffer.start, self._last_end)
        self.stretches.append(Stretch(begin, utterance))
