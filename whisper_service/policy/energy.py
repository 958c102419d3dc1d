"""Finds quiet audio, by its level alone.

Levels tell loud from quiet, not speech from noise: enough to choose the least harmful position for
a cut, and to leave out digital silence.
"""

import numpy as np
import numpy.typing as npt

from whisper_service.types import SAMPLE_RATE, Audio

HOP = SAMPLE_RATE // 100
"""10 ms: about a pitch period of the deepest voice, and less than the closure of a plosive."""
BREATH = SAMPLE_RATE // 5
"""200 ms: longer than the silence within any consonant (closures last up to 150 ms)."""
FLOOR = 10 ** (-60 / 20)
"""-60 dBFS, RMS: below the noise of any microphone that is set for speech (-55 and more)."""
SPEECH_BELOW_PEAK = 0.1
"""-20 dB from a speaker's loud frames: vowels and voiced consonants are louder, pauses quieter."""
_LOUD_QUANTILE = 0.95
"""The loudest 5 % of frames are a speaker's loud ones, so that a single click decides nothing."""

Levels = npt.NDArray[np.float64]
"""float64 [n_hops], RMS of each 10 ms."""


def levels(audio: Audio) -> Levels:
    """Return the RMS of each whole hop of `audio`, float64 [n_hops]."""
    n_hops = len(audio) // HOP
    hops = audio[: n_hops * HOP].reshape(n_hops, HOP)
    rms: Levels = np.sqrt(np.mean(np.square(hops, dtype=np.float64), axis=1))
    return rms


def is_silent(audio: Audio) -> bool:
    """Whether audio is digital silence or close to it; a whisper into a microphone is not."""
    return not bool(np.any(np.abs(audio) > FLOOR)) or not bool(np.any(levels(audio) > FLOOR))


def speech_like(audio: Audio) -> npt.NDArray[np.bool_]:
    """Return which hops are within 20 dB of the audio's loud ones, bool [n_hops]."""
    level = levels(audio)
    if not len(level):
        return np.zeros(0, np.bool_)
    loud = float(np.quantile(level, _LOUD_QUANTILE))
    return level > max(FLOOR, SPEECH_BELOW_PEAK * loud)


def smooth(level: Levels, width: int) -> Levels:
    """Return the mean over `width` hops around each hop; the edges are repeated outwards."""
    padded = np.pad(level, (width // 2, width - 1 - width // 2), mode="edge")
    total = np.cumsum(np.concatenate(([0.0], padded)))
    mean: Levels = (total[width:] - total[:-width]) / width
    return mean


def quietest(audio: Audio, *, width: int, near: int | None = None) -> int:
    """Return the centre of the quietest `width` samples, to 10 ms.

    Levels within 3 dB count as equal, since a finer difference says nothing about where a word
    ends. Of equal positions the closest to `near` counts; the last one if `near` is None.
    """
    level = levels(audio)
    if not len(level):
        return len(audio) // 2
    smoothed = smooth(level, max(1, width // HOP))
    candidates = np.flatnonzero(smoothed <= max(FLOOR, float(smoothed.min()) * 2**0.5))
    centres = candidates * HOP + HOP // 2
    if near is None:
        return int(centres[-1])
    if 0 <= near // HOP < len(level) and near // HOP in candidates:
        return near
    return int(centres[np.argmin(np.abs(centres - near))])


def runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the half-open index ranges in which `flags` is true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def pauses(audio: Audio, *, at_least: int) -> list[tuple[int, int]]:
    """Return `[start, end)` of the parts, in samples, that stay 20 dB below the loud ones.

    Parts shorter than `at_least` samples are left out.
    """
    quiet = [(start * HOP, end * HOP) for start, end in runs(~speech_like(audio))]
    return [(start, end) for start, end in quiet if end - start >= at_least]
