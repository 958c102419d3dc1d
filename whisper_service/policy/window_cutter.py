"""Cuts a file's audio, as it comes in, into windows of at most 30 s that hold speech.

Audio far from any speech is left out, as in whisperX and in faster-whisper's batched decoding: a
window is made of chunks of the file, one after the other. Owns the audio until it is in a window.
Positions are samples from the start of the file, so that times do not drift over hours.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from whisper_service.audio.buffer import AudioBuffer
from whisper_service.audio.vad import SpeechDetector
from whisper_service.policy import energy
from whisper_service.policy.endpoint import Endpointer, Utterance, VadOptions
from whisper_service.types import SAMPLE_RATE, WINDOW_SAMPLES, Audio

_EARLIEST_CUT = WINDOW_SAMPLES - 12 * SAMPLE_RATE
"""18 s: a window costs the same however full it is, so it is cut in its last 12 s, in which a
speaker is nearly sure to take breath (every 3 to 4 s)."""
_LOOK_AHEAD = WINDOW_SAMPLES + 12 * SAMPLE_RATE
"""42 s of speech come in before a window is cut. Speech that ends sooner is cut about its middle:
Whisper hallucinates on a rest of a second or two."""
_PAD = 4 * SAMPLE_RATE // 10
"""400 ms of padding around speech: Silero is late, and Whisper needs some of it for soft onsets and
for ends of sentences."""
_MAX_GAP = 2 * _PAD + SAMPLE_RATE // 5
"""1 s: a longer gap in speech loses its middle."""
_VAD = VadOptions()
_LOOK_BACK = SAMPLE_RATE
"""1 s of silence is kept: the padding, and the frames that detection takes."""


@dataclass(frozen=True, slots=True)
class Span:
    """Positions `[start, end)` of the file."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True, eq=False)
class FileWindow:
    """The audio of one decode: that of `chunks`, joined. The spans of `speech` lie within them."""

    audio: Audio
    chunks: tuple[Span, ...]
    speech: tuple[Span, ...]

    @property
    def end(self) -> int:
        """The position in the file after its last sample."""
        return self.chunks[-1].end

    def position(self, at: int) -> int:
        """Return the position in the file of sample `at` of `audio`.

        Where two chunks meet, that is the beginning of the later one.
        """
        for chunk in self.chunks:
            if at < len(chunk):
                return chunk.start + at
            at -= len(chunk)
        return self.end

    def offset(self, position: int) -> int:
        """Return the sample of `audio` at `position` of the file, or the next one after it."""
        before = 0
        for chunk in self.chunks:
            if position < chunk.end:
                return before + max(0, position - chunk.start)
            before += len(chunk)
        return before


class WindowCutter:
    """`push` audio, then `cut` until that returns None; `end` after the last audio.

    Without a detector all sound counts as speech. Speech after a silence of more than `max_pause`
    samples begins a new window.
    """

    def __init__(self, detector: SpeechDetector | None, *, max_pause: int) -> None:
        self._finder = _SpeechFinder(detector)
        self._max_pause = max_pause
        self._buffer = AudioBuffer()
        self._has_ended = False
        self._begin = 0
        """All audio before it is in a window, or left out."""

    @property
    def received(self) -> int:
        """Samples pushed so far."""
        return self._buffer.end

    def push(self, samples: Audio) -> None:
        """Take the next samples of the file."""
        self._buffer.append(samples)
        self._finder.push(samples)
        self._forget()

    def end(self) -> None:
        """Allow windows of any length for the rest."""
        self._has_ended = True
        self._finder.end(self.received)

    def cut(self) -> FileWindow | None:
        """Return the next window; None if more audio must come first."""
        speech, is_whole = self._next_speech()
        chunks = _chunks(speech, self._begin, self.received)
        length = sum(map(len, chunks))
        if not chunks or (length < _LOOK_AHEAD and not is_whole):
            return None
        window = self._window(chunks, speech)
        if length > WINDOW_SAMPLES:
            window = self._first_part(window, is_whole=is_whole)
        self._begin = window.end
        self._finder.forget_before(self._begin)
        self._forget()
        return window

    def _next_speech(self) -> tuple[list[Span], bool]:
        """Return the spans of speech up to the next long pause, and whether that pause has come."""
        speech: list[Span] = []
        for span in self._finder.speech():
            if speech and span.start - speech[-1].end > self._max_pause:
                return speech, True
            speech.append(span)
        return speech, self._has_ended or self._finder.silence > self._max_pause

    def _window(self, chunks: Sequence[Span], speech: Sequence[Span]) -> FileWindow:
        audio = [self._buffer.slice(chunk.start, chunk.end) for chunk in chunks]
        return FileWindow(np.concatenate(audio), tuple(chunks), tuple(speech))

    def _first_part(self, window: FileWindow, *, is_whole: bool) -> FileWindow:
        low, high, length = _EARLIEST_CUT, WINDOW_SAMPLES, len(window.audio)
        if is_whole and length <= _LOOK_AHEAD:
            low = max(length - WINDOW_SAMPLES, length // 2 - 6 * SAMPLE_RATE)
            high = min(WINDOW_SAMPLES, length // 2 + 6 * SAMPLE_RATE)
        at = window.position(_quietest_cut(window, low, high))
        return FileWindow(
            window.audio[: window.offset(at)],
            tuple(_before(window.chunks, at)),
            tuple(_before(window.speech, at)),
        )

    def _forget(self) -> None:
        """Drop audio that no window needs."""
        first = next(self._finder.speech(), None)
        needed = self.received - _LOOK_BACK if first is None else first.start - _PAD
        self._buffer.discard_before(max(self._begin, needed))


class _SpeechFinder:
    """Spans of speech, in order; the last one may still grow."""

    def __init__(self, detector: SpeechDetector | None) -> None:
        self._detector = detector
        self._frame = energy.HOP if detector is None else detector.frame_samples
        self._endpointer = Endpointer(
            frame_samples=self._frame,
            endpoint_silence=_VAD.min_silence / SAMPLE_RATE,
            options=_VAD,
        )
        self._rest: Audio = np.empty(0, np.float32)
        self._found: deque[Utterance] = deque()
        self._from = 0
        self._end: int | None = None

    def push(self, samples: Audio) -> None:
        self._judge(self._probabilities(samples))

    def end(self, position: int) -> None:
        """End the file at `position`; its unfinished frame is processed as if silence followed."""
        self._judge(self._probabilities(np.zeros(self._frame - 1, np.float32)))
        if (utterance := self._endpointer.flush()) is not None:
            self._found.append(utterance)
        self._end = position

    @property
    def silence(self) -> int:
        """Samples of silence since the last speech; 0 during speech."""
        if self._endpointer.utterance is not None or not self._found:
            return 0
        return self._endpointer.position - (self._found[-1].silent_since or 0)

    def speech(self) -> Iterator[Span]:
        """Yield the spans of speech that were not forgotten."""
        last = self._endpointer.position if self._end is None else self._end
        for utterance in self._found:
            end = last if utterance.silent_since is None else utterance.silent_since
            start, end = max(utterance.start, self._from), min(end, last)
            if start < end:
                yield Span(start, end)

    def forget_before(self, position: int) -> None:
        self._from = position
        while self._found and (end := self._found[0].silent_since) is not None and end <= position:
            if self._found[0] is self._endpointer.utterance:
                break
            self._found.popleft()

    def _probabilities(self, samples: Audio) -> Sequence[float]:
        if self._detector is not None:
            return self._detector.probabilities(samples)
        samples = np.concatenate((self._rest, samples))
        self._rest = samples[len(samples) - len(samples) % energy.HOP :]
        return list((energy.levels(samples) > energy.FLOOR).astype(float))

    def _judge(self, probabilities: Sequence[float]) -> None:
        for probability in probabilities:
            if (utterance := self._endpointer.push(probability)) is not None:
                self._found.append(utterance)


def _chunks(speech: Sequence[Span], begin: int, end: int) -> list[Span]:
    """Return `speech` with padding, joined across short gaps, within `[begin, end)`."""
    chunks: list[Span] = []
    for span in speech:
        if chunks and span.start - (chunks[-1].end - _PAD) <= _MAX_GAP:
            chunks[-1] = Span(chunks[-1].start, span.end + _PAD)
        else:
            chunks.append(Span(max(begin, span.start - _PAD), span.end + _PAD))
    if chunks and chunks[-1].end > end:
        chunks[-1] = Span(chunks[-1].start, end)
    return chunks


def _quietest_cut(window: FileWindow, low: int, high: int) -> int:
    """Return the middle of the longest pause in `audio[low:high]`.

    Where the detector found none, the level decides.
    """
    pauses = [
        (max(window.offset(a.end), low), min(window.offset(b.start), high))
        for a, b in pairwise(window.speech)
    ]
    start, end = max(pauses, key=lambda pause: pause[1] - pause[0], default=(0, 0))
    if end - start < energy.BREATH:
        return low + _longest_gap(window.audio[low:high])
    return (start + end) // 2


def _longest_gap(audio: Audio) -> int:
    """Return the middle of the longest silence; of the quietest 200 ms where there is none."""
    gaps = energy.pauses(audio, at_least=energy.BREATH)
    if not gaps:
        return energy.quietest(audio, width=energy.BREATH)
    start, end = gaps[int(np.argmax([end - start for start, end in gaps]))]
    return (start + end) // 2


def _before(spans: Sequence[Span], position: int) -> Iterator[Span]:
    for span in spans:
        if span.start < position:
            yield Span(span.start, min(span.end, position))
