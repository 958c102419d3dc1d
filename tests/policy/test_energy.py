"""Quiet and loud, by level alone."""

import numpy as np

from whisper_service.policy import energy
from whisper_service.types import SAMPLE_RATE, Audio


def tone(*levels_and_seconds: tuple[float, float]) -> Audio:
    parts = [np.full(round(s * SAMPLE_RATE), level) for level, s in levels_and_seconds]
    return np.concatenate(parts).astype(np.float32)


def test_digital_silence_is_silent_and_a_whisper_is_not() -> None:
    assert energy.is_silent(tone((0.0005, 1.0)))
    assert not energy.is_silent(tone((0.0, 1.0), (0.003, 0.1)))


def test_the_quietest_place_is_the_gap_and_in_doubt_the_nearest() -> None:
    audio = tone((0.3, 0.5), (0.01, 0.2), (0.3, 0.5))
    assert 0.55 < energy.quietest(audio, width=1600) / SAMPLE_RATE < 0.66
    assert energy.quietest(tone((0.3, 1.0)), width=480, near=5000) == 5000


def test_pauses_are_twenty_decibels_below_the_loud_parts() -> None:
    audio = tone((0.3, 0.5), (0.02, 0.3), (0.1, 0.2), (0.02, 0.1), (0.3, 0.5))
    assert energy.pauses(audio, at_least=3200) == [(8000, 12800)]
