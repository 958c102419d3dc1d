"""Recorded words for tests: synthetic speech (espeak-ng) that the bundled model knows."""

import wave
from pathlib import Path

import numpy as np

from whisper_service.types import SAMPLE_RATE, Audio

DATA_DIR = Path(__file__).parent / "data"
TEXTS = {
    "en_four_seven_nine": "four seven nine",
    "en_zero_one_two": "zero one two",
    "en_eight": "eight",
    "de_drei_vier": "drei vier",
    "es_cinco_ocho": "cinco ocho",
}
"""File name to what is said in it; the language is its first part."""


def speech(name: str) -> Audio:
    """One of `TEXTS` as float32 mono at 16 kHz."""
    with wave.open(str(DATA_DIR / f"{name}.wav")) as file:
        assert (file.getframerate(), file.getnchannels()) == (SAMPLE_RATE, 1)
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return samples.astype(np.float32) / 32768


def language_of(name: str) -> str:
    """The language a file of `TEXTS` is in."""
    return name.split("_")[0]
