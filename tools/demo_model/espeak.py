"""Speech of known words from espeak-ng's library, with the time of every word.

The library tells where each word begins (its WORD events); where it ends is read off the signal.
https://github.com/espeak-ng/espeak-ng/blob/master/src/include/espeak-ng/speak_lib.h
"""

import ctypes
import ctypes.util
import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from tools.demo_model.words import Word

SAMPLE_RATE = 16_000
Audio = NDArray[np.float32]

_SYNCHRONOUS, _RATE, _PITCH = 2, 1, 3
_END_OF_LIST, _WORD = 0, 1
_CHARS_UTF8 = 1
_QUIET_DB = -38.0  # below the phrase's loudest 10 ms: espeak-ng's releases fade out under it
_BLOCK = SAMPLE_RATE // 100


@dataclass(frozen=True, slots=True)
class Voice:
    """One way of speaking: an espeak-ng voice such as `en-us+f3`, its words a minute, its pitch."""

    name: str
    rate: int
    pitch: int


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word and where it is heard, in samples at 16 kHz."""

    word: Word
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Phrase:
    """audio: float32 [n_samples] at 16 kHz, and the words in it."""

    audio: Audio
    words: tuple[SpokenWord, ...]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Espeak:
    """The espeak-ng library of this process. It holds one voice at a time: not for threads."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            raise RuntimeError("espeak-ng is not installed: its library was not found")
        self._library: Any = ctypes.CDLL(name)
        self._rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, 0)
        self._chunks: list[NDArray[np.int16]] = []
        self._starts: list[int] = []
        self._callback = _Callback(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: Any, n_samples: int, events: Any) -> int:
        if n_samples > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (n_samples,)).copy())
        i = 0
        while events[i].type != _END_OF_LIST:
            if events[i].type == _WORD and events[i].length > 0:  # 0: a clause's own end
                self._starts.append(events[i].sample)
            i += 1
        return 0

    def say(self, words: tuple[Word, ...], voice: Voice, separator: str = " ") -> Phrase | None:
        """The words as one phrase; None where espeak-ng did not tell every word's time."""
        self._chunks, self._starts = [], []
        self._set(voice)
        text = separator.join(word.text for word in words).encode()
        self._library.espeak_Synth(text, len(text) + 1, 0, 1, 0, _CHARS_UTF8, None, None)
        if len(self._starts) != len(words) or not self._chunks:
            return None
        return _phrase(np.concatenate(self._chunks), self._rate, words, self._starts)

    def _set(self, voice: Voice) -> None:
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice.name!r}")
        self._library.espeak_SetParameter(_RATE, voice.rate, 0)
        self._library.espeak_SetParameter(_PITCH, voice.pitch, 0)


@cache
def espeak() -> Espeak:
    """The library can be initialised once in a process, so it is kept."""
    return Espeak()


def _phrase(
    pcm: NDArray[np.int16], rate: int, words: tuple[Word, ...], starts: list[int]
) -> Phrase | None:
    audio = at_16_khz(pcm, rate)
    edges = [start * SAMPLE_RATE // rate for start in starts] + [len(audio)]
    spans = [heard(audio, a, b) for a, b in itertools.pairwise(edges)]
    if any(end - start < 3 * _BLOCK for start, end in spans):
        return None
    spoken = tuple(SpokenWord(word, *span) for word, span in zip(words, spans, strict=True))
    return Phrase(audio, spoken)


def at_16_khz(pcm: NDArray[np.int16], rate: int) -> Audio:
    """float32 within -1 to 1, resampled"""
    audio = pcm.astype(np.float32) / 32768
    return np.asarray(soxr.resample(audio, rate, SAMPLE_RATE), dtype=np.float32)


def heard(audio: Audio, start: int, end: int) -> tuple[int, int]:
    """From the first to the last 10 ms of audio[start:end] that are not quiet, in samples."""
    n_blocks = max(1, (end - start) // _BLOCK)
    blocks = audio[start : start + n_blocks * _BLOCK].reshape(n_blocks, -1)
    power = (blocks**2).mean(axis=1)
    loud = np.flatnonzero(power > (power.max() + 1e-12) * 10 ** (_QUIET_DB / 10))
    if not len(loud):
        return start, start
    return start + int(loud[0]) * _BLOCK, start + (int(loud[-1]) + 1) * _BLOCK
