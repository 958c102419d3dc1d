"""Sounds in which nobody speaks, each made from its number: no transcript may have words for them.

`NON_SPEECH=200` tries so many instead of a few.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from whisper_service.types import SAMPLE_RATE, Audio

N_SOUNDS = int(os.environ.get("NON_SPEECH", "42"))
Samples = npt.NDArray[np.float64]
Rng = np.random.Generator
Make = Callable[[Rng, int], Samples]


def sound(number: int, shortest: float = 0.2, longest: float = 90.0) -> tuple[str, Audio]:
    """The sound's name and its samples, of any level that recordings have."""
    rng = np.random.default_rng(number)
    kind = list(KINDS)[number % len(KINDS)]
    seconds = float(np.exp(rng.uniform(np.log(shortest), np.log(longest))))
    dbfs = rng.uniform(*((-60, -10) if kind in ("white", "pink", "brown") else (-40, -12)))
    samples = KINDS[kind](rng, round(seconds * SAMPLE_RATE))
    rms = float(np.sqrt(np.mean(np.square(samples)))) or 1.0
    audio: Audio = np.clip(samples * 10 ** (dbfs / 20) / rms, -1, 1).astype(np.float32)
    return f"{kind}-{number}-{seconds:.1f}s{dbfs:.0f}dB", audio


def _silence(_rng: Rng, n: int) -> Samples:
    return np.zeros(n)


def _noise(exponent: float) -> Make:
    """Power falls with frequency to the `exponent`: 0 is white, 1 pink, 2 brown."""

    def make(rng: Rng, n: int) -> Samples:
        frequency = np.maximum(np.fft.rfftfreq(n, 1 / SAMPLE_RATE), 20.0)
        spectrum = rng.standard_normal(len(frequency)) + 1j * rng.standard_normal(len(frequency))
        noise: Samples = np.fft.irfft(spectrum / frequency ** (exponent / 2), n)
        return noise / np.abs(noise).max()

    return make


def _hum(rng: Rng, n: int) -> Samples:
    base = rng.choice([50, 60])
    return _sines(n, *((base * k, 1 / k) for k in (1, 2, 3, 5, 7)))


def _tone(rng: Rng, n: int) -> Samples:
    return _sines(n, (rng.uniform(100, 4000), 1.0))


def _signal(on: float, off: float, *chords: tuple[int, ...]) -> Make:
    """A telephone's: so many seconds of a chord, so many of nothing."""

    def make(rng: Rng, n: int) -> Samples:
        chord = chords[rng.integers(len(chords))]
        at = np.arange(n) / SAMPLE_RATE + rng.uniform(0, on + off)
        gate = (at % (on + off) < on).astype(float)
        smooth = np.convolve(gate, np.ones(80) / 80, "same")[:n]
        return _sines(n, *((frequency, 1.0) for frequency in chord)) * smooth

    return make


def _chord(rng: Rng, n: int) -> Samples:
    """Three notes with tremolo."""
    root, third = rng.uniform(110, 440), rng.choice([1.2, 1.26])
    depth, speed = rng.uniform(0.3, 0.9), rng.uniform(1, 8)
    notes = _sines(n, *((root * k, 1.0) for k in (1, third, 1.5)))
    overtones = _sines(n, *((2 * root * k, 0.3) for k in (1, third, 1.5)))
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * speed * np.arange(n) / SAMPLE_RATE)
    return (notes + overtones) * (1 - depth * swell)


def _bursts(seconds: float, shortest: float, longest: float, rate: float) -> Make:
    """Noise that dies away: clicks and claps."""

    def make(rng: Rng, n: int) -> Samples:
        audio, length = np.zeros(n), round(seconds * SAMPLE_RATE)
        for at in rng.integers(0, max(1, n - length), size=max(1, round(n / SAMPLE_RATE * rate))):
            fade = np.exp(-np.arange(length) / (rng.uniform(shortest, longest) * SAMPLE_RATE))
            burst = fade * rng.standard_normal(length) * rng.uniform(0.5, 1)
            audio[at : at + length] += burst[: n - at]
        return audio

    return make


def _breath(rng: Rng, n: int) -> Samples:
    phase = np.pi * np.arange(n) / SAMPLE_RATE / rng.uniform(1.2, 2)
    swell = np.maximum(0, np.sin(phase)) ** 2 + 0.5 * np.maximum(0, -np.sin(phase)) ** 2
    return _noise(1)(rng, n) * swell


def _sines(n: int, *partials: tuple[Any, float]) -> Samples:
    at = 2 * np.pi * np.arange(n) / SAMPLE_RATE
    total: Samples = np.sum([height * np.sin(at * hertz) for hertz, height in partials], axis=0)
    return total


KINDS: dict[str, Make] = {
    "silence": _silence,
    "white": _noise(0),
    "pink": _noise(1),
    "brown": _noise(2),
    "hum": _hum,
    "tone": _tone,
    "dial": _signal(1.0, 0.0, (350, 440), (425,)),
    "ringing": _signal(2.0, 4.0, (440, 480), (425,), (400, 450)),
    "ringing-short": _signal(1.0, 3.0, (440, 480), (425,), (400, 450)),
    "busy": _signal(0.5, 0.5, (480, 620), (425,)),
    "chord": _chord,
    "clicks": _bursts(0.0125, 0.0003, 0.0025, 1.0),
    "claps": _bursts(0.12, 0.005, 0.02, 1.0),
    "breath": _breath,
}
