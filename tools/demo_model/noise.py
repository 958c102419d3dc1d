"""Sounds that are no words: noises, hums, tones and chords, at a level of 1 (root mean square)."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tools.demo_model.espeak import SAMPLE_RATE, Audio


def noise(rng: Generator, n_samples: int) -> Audio:
    """Noise whose power falls by 0 (white) to 6 dB (brown) an octave, its band and swell random."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    hertz = np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE).clip(20)
    spectrum *= hertz ** -rng.choice([0.0, 0.0, 0.25, 0.5, 0.75, 1.0])
    if rng.random() < 0.3:
        low, high = rng.uniform(20, 1500), rng.uniform(2000, 8000)
        spectrum *= (hertz > low) & (hertz < high)
    return _levelled(np.fft.irfft(spectrum, n_samples) * _swell(rng, n_samples))


def tones(rng: Generator, n_samples: int) -> Audio:
    """Notes and chords with overtones that come and go, as music does, or one steady tone."""
    audio = np.zeros(n_samples)
    start = 0
    while start < n_samples:
        length = int(rng.choice([0.15, 0.3, 0.6, 1.2, 4.0]) * SAMPLE_RATE)
        note = _chord(rng, min(length, n_samples - start))
        audio[start : start + length] = note
        start += length
    return _levelled(audio)


def _chord(rng: Generator, n_samples: int) -> Audio:
    seconds = np.arange(n_samples) / SAMPLE_RATE
    chord = np.zeros(n_samples)
    for _ in range(int(rng.integers(1, 5))):
        pitch = 110 * 2 ** (rng.integers(0, 36) / 12)
        for overtone in range(1, int(rng.integers(2, 8))):
            phase = 2 * np.pi * rng.random()
            chord += np.sin(2 * np.pi * pitch * overtone * seconds + phase) / overtone**1.5
    fade = np.minimum(1, seconds / 0.01) * np.exp(-seconds * rng.uniform(0, 4))
    return np.asarray(chord * fade, dtype=np.float32)


def _swell(rng: Generator, n_samples: int) -> Audio:
    """Slow changes of level; half of all noises are steady."""
    if rng.random() < 0.5:
        return np.ones(n_samples, dtype=np.float32)
    knots = rng.uniform(0.2, 1.0, max(2, n_samples // SAMPLE_RATE))
    places = np.linspace(0, len(knots) - 1, n_samples)
    return np.interp(places, np.arange(len(knots)), knots).astype(np.float32)


def _levelled(audio: NDArray[np.floating]) -> Audio:
    return np.asarray(audio / (np.sqrt(np.mean(audio**2)) + 1e-9), dtype=np.float32)
