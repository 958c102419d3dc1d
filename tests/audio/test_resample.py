import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_service.audio.resample import Resampler
from whisper_service.types import Audio

from .make import CLICKS, click_times, click_track

RATES = [8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000]


def resample(rate: int, parts: list[Audio]) -> Audio:
    resampler = Resampler(rate)
    return np.concatenate([*(resampler.push(part) for part in parts), resampler.flush()])


def test_16_khz_passes_untouched() -> None:
    samples = click_track(0.1, rate=16_000)
    assert resample(16_000, [samples]).tolist() == samples.tolist()


@pytest.mark.parametrize("rate", RATES)
def test_sound_stays_where_it_was(rate: int) -> None:
    resampled = resample(rate, [click_track(rate=rate)])
    assert len(resampled) == pytest.approx(3 * 16_000, abs=1)
    assert click_times(resampled) == pytest.approx(CLICKS, abs=0.002)


def test_what_16_khz_cannot_hold_is_removed() -> None:
    whistle = np.sin(2 * np.pi * 9_000 * np.arange(48_000) / 48_000).astype(np.float32)
    assert np.abs(resample(48_000, [whistle])[200:-200]).max() < 1e-3


def test_an_hour_does_not_drift() -> None:
    resampler, n_samples = Resampler(44_100), 0
    second = np.zeros(44_100, np.float32)
    for _ in range(3600):
        n_samples += len(resampler.push(second))
    assert n_samples + len(resampler.flush()) == pytest.approx(3600 * 16_000, abs=1)


@pytest.mark.parametrize("rate", RATES)
def test_a_stream_without_samples_ends_without_samples(rate: int) -> None:
    assert resample(rate, []).tolist() == []


@settings(max_examples=50)
@given(rate=st.sampled_from(RATES), cuts=st.lists(st.integers(0, 5_000), max_size=12))
def test_samples_do_not_depend_on_how_the_stream_was_cut(rate: int, cuts: list[int]) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 5_000).astype(np.float32)
    parts = np.split(samples, sorted(cuts))
    np.testing.assert_array_equal(resample(rate, parts), resample(rate, [samples]))
