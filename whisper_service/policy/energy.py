"""Where audio is quiet, judged by its level alone.

Owns numpy over short stretches. It cannot tell speech from noise, only loud from quiet, which is
enough to choose the least harmful place for a cut and to leave out digital silence.
"""

import numpy as np
import numpy.typing as npt

from whisper_service.types import SAMPLE_RATE, Audio

HOP = SAMPLE_RATE // 100
"""10 ms: a pitch period of the deepest voice (12 ms) nearly fits, a closure of a plosive does."""
BREATH = SAMPLE_RATE // 5
"""200 ms: longer than the silence inside any consonant (closures last up to 150 ms)."""
FLOOR = 10 ** (-60 / 20)
"""-60 dBFS, RMS: under the self-noise of any microphone turned up for speech (-55 and more)."""
SPEECH_BELOW_PEAK = 0.1
"""-20 dB: vowels and voiced consonants lie within it of a talker's loud frames; pauses do not."""
_LOUD_QUANTILE = 0.95
"""A talker's loud frames, without a single click deciding it."""

Levels = npt.NDArray[np.float64]
"""float64 [n_hops], RMS of each 10 ms."""


def levels(audio: Audio) -> Levels:
    """RMS of each whole hop of `audio`; a rest shorter than a hop is left out."""
    n_hops = len(audio) // HOP
    hops = audio[: n_hops * HOP].reshape(n_hops, HOP)
    rms: Levels = np.sqrt(np.mean(np.square(hops, dtype=np.float64), axis=1))
    return rms


def is_silent(audio: Audio) -> bool:
    """Tell digital silence and the like; a whisper into a microphone is not silent."""
    return not bool(np.any(np.abs(audio) > FLOOR)) or not bool(np.any(levels(audio) > FLOOR))


def speech_like(audio: Audio) -> npt.NDArray[np.bool_]:
    """bool [n_hops]: the hops about as loud as this audio's loud ones."""
    level = levels(audio)
    if not len(level):
        return np.zeros(0, np.bool_)
    loud = float(np.quantile(level, _LOUD_QUANTILE))
    return level > max(FLOOR, SPEECH_BELOW_PEAK * loud)


def smooth(level: Levels, width: int) -> Levels:
    """Mean over `width` hops around each hop; the edges are repeated outwards."""
    padded = np.pad(level, (width // 2, width - 1 - width // 2), mode="edge")
    total = np.cumsum(np.concatenate(([0.0], padded)))
    mean: Levels = (total[width:] - total[:-width]) / width
    return mean


def quietest(audio: Audio, *, width: int, near: int | None = None) -> int:
    """Return the centre of the quietest `width` samples, to 10 ms.

    Levels within 3 dB count as equal (a finer difference says nothing about where a word ends);
    of equals the one closest to `near` wins, the last one where `near` is None.
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
    """Return the stretches, in samples, of `at_least` that stay 20 dB below the loud parts."""
    quiet = [(start * HOP, end * HOP) for start, end in runs(~speech_like(audio))]
    return [(start, end) for start, end in quiet if end - start >= at_least]
