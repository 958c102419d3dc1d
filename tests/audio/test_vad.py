import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.speech import speech
from whisper_service.audio.vad import SileroDetector
from whisper_service.types import Audio

from .make import run_ffmpeg


def noise(seconds: float, level: float, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    return rng.normal(0, level, round(seconds * 16_000)).astype(np.float32)


def test_each_whole_frame_has_one_probability() -> None:
    detector = SileroDetector()
    assert len(detector.probabilities(noise(0.1, 0.1)[:1_600])) == 1_600 // 512
    assert len(detector.probabilities(noise(0.1, 0.1)[:448])) == 1  # 64 were left over
    assert all(0 <= p <= 1 for p in detector.probabilities(noise(1, 0.1)))


def test_silence_and_quiet_noise_are_no_speech() -> None:
    detector = SileroDetector()
    assert max(detector.probabilities(np.zeros(16_000, np.float32))) < 0.1
    assert max(detector.probabilities(noise(3, 0.001))) < 0.5


def test_speech_stands_out(shared_audio) -> None:
    raw = run_ffmpeg("-i", shared_audio / "jfk.flac", "-ac", 1, "-ar", 16_000, "-f", "s16le", "-")
    speech = np.frombuffer(raw, "<i2").astype(np.float32) / 32768
    heard = np.array(SileroDetector().probabilities(speech)) > 0.5
    assert not heard[:2].any()  # he has not begun
    assert heard[32:].mean() > 0.5


def test_what_is_as_probable_as_the_threshold_is_speech() -> None:
    samples = speech("en_four_seven_nine")
    plain, moved = (SileroDetector(at).probabilities(samples) for at in (0.5, 0.2))
    assert [told >= 0.5 for told in moved] == [probability >= 0.2 for probability in plain]
    assert any(0.2 <= probability < 0.5 for probability in plain)


def test_reset_forgets_what_was_heard() -> None:
    detector, fresh, samples = SileroDetector(), SileroDetector(), noise(1, 0.05)
    detector.probabilities(noise(1.01, 0.5, seed=1))
    detector.reset()
    assert detector.probabilities(samples) == fresh.probabilities(samples)


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, 8_000), max_size=8))
def test_probabilities_do_not_depend_on_how_the_stream_was_cut(cuts) -> None:
    samples, whole, in_parts = noise(0.5, 0.1), SileroDetector(), SileroDetector()
    parts = np.split(samples, sorted(cuts))
    heard = [p for part in parts for p in in_parts.probabilities(part)]
    assert heard == whole.probabilities(samples)
