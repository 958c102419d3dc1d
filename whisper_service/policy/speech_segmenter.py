"""Splits a stream's audio into chunks of speech.

Owns the buffer, the detector and the order of chunks; knows nothing of hypotheses and text. Audio
is processed one frame at a time: a plan that decides after each frame decides by the audio alone,
whatever the sizes of the messages it came in.
"""

from collections import deque

import numpy as np

from whisper_service.audio.buffer import AudioBuffer
from whisper_service.audio.vad import SpeechDetector
from whisper_service.policy.endpoint import Endpointer, Utterance, VadOptions
from whisper_service.policy.speech_chunk import SpeechChunk
from whisper_service.types import SAMPLE_RATE, Audio

_FRAME = 512
"""32 ms: Silero's frame, for streams without a detector."""
_LOOK_BACK = SAMPLE_RATE
"""1 s of silence is kept: the padding before speech, and the frames that detection takes."""


class SpeechSegmenter:
    """`receive` audio, `step` through it, read `chunks` from the left, `pop` one that is final."""

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
        self.chunks: deque[SpeechChunk] = deque()
        self._detector = detector
        self._last_end = position
        self._probabilities: deque[float] = deque()
        self._frame = _FRAME if detector is None else detector.frame_samples
        self._origin = position
        self.processed = position
        """Position up to which speech was detected: a whole number of frames, except at the end."""
        self._endpointer: Endpointer | None = None
        if detector is None:
            self.chunks.append(SpeechChunk(position, None))
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
        """Process the next frame; return False if it is not complete yet."""
        if self.processed + self._frame > self.received:
            return False
        self._process_frame()
        return True

    def close(self) -> None:
        """End the open chunk at this position; its utterance goes on in a new chunk."""
        if self.chunks and self.chunks[-1].end(self.vad) is None:
            last = self.chunks[-1]
            last.close(self.processed, self.vad)
            self.chunks.append(SpeechChunk(self.processed, last.utterance, is_first=False))

    def end(self) -> None:
        """Process the unfinished frame as if silence followed, and end the open chunk."""
        rest = (self.received - self._origin) % self._frame
        if rest and self._detector is not None:
            silence = np.zeros(self._frame - rest, np.float32)
            self._probabilities += self._detector.probabilities(silence)
        while self.processed < self.received:
            self._process_frame()
        if self._endpointer is not None and (utterance := self._endpointer.flush()) is not None:
            self._begin(utterance)
        if self.chunks:
            end = self.chunks[-1].end(self.vad)
            # An endpoint within the padded frame lies after the last sample.
            if end is None or end > self.received:
                self.chunks[-1].close(self.received, self.vad)

    def pop(self, end: int) -> None:
        """Remove the first chunk, which is final up to `end`."""
        self.chunks.popleft()
        self._last_end = max(self._last_end, end)
        if self.chunks:
            self.chunks[0].begin = max(self.chunks[0].begin, self._last_end)

    def discard_before(self, position: int | None) -> None:
        """Drop audio before `position`; None drops all that no chunk and no new utterance needs."""
        if position is None:
            begins = [self.processed - _LOOK_BACK, *(chunk.begin for chunk in self.chunks)]
            position = min(begins)
        self.buffer.discard_before(position)

    def _process_frame(self) -> None:
        self.processed = min(self.processed + self._frame, self.received)
        if self._endpointer is not None:
            utterance = self._endpointer.push(self._probabilities.popleft())
            if utterance is not None:
                self._begin(utterance)

    def _begin(self, utterance: Utterance) -> None:
        begin = max(utterance.start - self.vad.pad_before, self.buffer.start, self._last_end)
        self.chunks.append(SpeechChunk(begin, utterance))
