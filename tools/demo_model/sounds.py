"""The training sounds, made once for a seed and kept in a file."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator

from tools.demo_model.clips import (
    Clip,
    Recording,
    clip_of,
    log_mel,
    recordings,
    respoken,
    training_phrases,
)  # fmt: skip
from tools.demo_model.espeak import SAMPLE_RATE
from tools.demo_model.noise import noise, tones
from tools.demo_model.scene import Sounds

_N_PHRASES = {"en": 14000, "de": 5000, "es": 5000}
_N_SPEEDS = 5  # copies of a recording, each played at a speed of its own
_N_NOISES, _N_TONES, _NOISE_SECONDS = 24, 16, 60


def training_sounds(
    seed: int, digits: Path | None, kept: Path, report: Callable[[str], None]
) -> Sounds:
    """From `kept` where it exists, else made: some two minutes on one core."""
    if kept.exists():
        with kept.open("rb") as file:
            return pickle.load(file)  # type: ignore[no-any-return]
    sounds = _made(np.random.default_rng(seed), digits, report)
    with kept.open("wb") as file:
        pickle.dump(sounds, file)
    return sounds


def _made(rng: Generator, digits: Path | None, report: Callable[[str], None]) -> Sounds:
    clips = {}
    for language, n_phrases in _N_PHRASES.items():
        clips[language] = [clip_of(p) for p in training_phrases(rng, language, n_phrases)]
        report(f"spoke {n_phrases} phrases in {language!r}")
    people = _digit_clips(rng, recordings(digits)) if digits else []
    report(f"took {len(people)} clips of people's digits")
    n_samples = _NOISE_SECONDS * SAMPLE_RATE
    noises = [log_mel(noise(rng, n_samples)) for _ in range(_N_NOISES)]
    return Sounds(clips, people, noises, [log_mel(tones(rng, n_samples)) for _ in range(_N_TONES)])


def _digit_clips(rng: Generator, found: list[Recording]) -> list[Clip]:
    clips = []
    for recording in found:
        if not recording.is_unseen:
            speeds = [1.0, *rng.uniform(0.84, 1.18, _N_SPEEDS - 1)]
            clips += [clip_of(respoken(recording.phrase, speed)) for speed in speeds]
    return clips
