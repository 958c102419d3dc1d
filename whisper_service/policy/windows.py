"""Cuts a file's audio, as it comes in, into windows of at most 30 s that begin and end in silence.

Owns the audio until it is in a window, and nothing after. Positions are exact ints, so that times
do not drift over hours.
"""

from dataclasses import dataclass

import numpy as np

from whisper_service.audio.buffer import AudioBuffer
from whisper_service.policy import energy
from whisper_service.types import SAMPLE_RATE, WINDOW_SAMPLES, Audio

_EARLIEST_CUT = WINDOW_SAMPLES - 12 * SAMPLE_RATE
"""A window costs the same however much of it is used: cut in its last 12 s, where a talker is
nearly sure to breathe (pauses for breath come each 3 to 4 s)."""
_GAP = SAMPLE_RATE // 5
"""200 ms: longer than the silence inside any consonant (closures last up to 150 ms)."""
_LEAD = 3 * SAMPLE_RATE // 10
"""300 ms of silence stay before the first sound: Whisper hears a soft onset better with some."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Samples `[start, start + len(audio))` of the file."""

    start: int
    audio: Audio

    @property
    def end(self) -> int:
        """Position after the last sample."""
        return self.start + len(self.audio)


class WindowCutter:
    """Audio in, windows out. `push`, then `cut` until it gives None; `end` when no more comes."""

    def __init__(self) -> None:
        self._buffer = AudioBuffer()
        self._has_ended = False
        self._has_sound = False

    @property
    def received(self) -> int:
        """Samples pushed so far."""
        return self._buffer.end

    @property
    def is_drained(self) -> bool:
        """No window is left and none will come."""
        return self._has_ended and not len(self._buffer)

    def push(self, samples: Audio) -> None:
        """Take the next samples of the file."""
        self._buffer.append(samples)
        self._skip_silence()

    def end(self) -> None:
        """Let the rest out as a window, however short."""
        self._has_ended = True

    def cut(self) -> Window | None:
        """Return the next window; None if more audio must come first."""
        start, available = self._buffer.start, len(self._buffer)
        if not available or (available <= WINDOW_SAMPLES and not self._has_ended):
            return None
        length = available if available <= WINDOW_SAMPLES else self._border()
        window = Window(start, self._buffer.slice(start, start + length))
        self._buffer.discard_before(window.end)
        self._has_sound = False
        self._skip_silence()
        return window

    def _border(self) -> int:
        audio = self._buffer.slice(self._buffer.start, self._buffer.start + WINDOW_SAMPLES)
        return _EARLIEST_CUT + _longest_gap(audio[_EARLIEST_CUT:])

    def _skip_silence(self) -> None:
        """Drop what lies below the floor before the next window's first sound."""
        if self._has_sound:
            return
        start = self._buffer.start
        sound = energy.first_sound(self._buffer.slice(start, self._buffer.end))
        self._has_sound = sound < len(self._buffer)
        if sound > _LEAD:
            self._buffer.discard_before(start + sound - _LEAD)


def _longest_gap(audio: Audio) -> int:
    """Return the middle of the longest silence; the quietest 200 ms where there is none."""
    gaps = energy.pauses(audio, at_least=_GAP)
    if not gaps:
        return energy.quietest(audio, width=_GAP)
    start, end = gaps[int(np.argmax([end - start for start, end in gaps]))]
    return (start + end) // 2
