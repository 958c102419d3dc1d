"""How a file's audio becomes windows: what is in them, where they are cut, and whose time it is."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.world import FakeDetector
from whisper_service.policy.window_cutter import FileWindow, WindowCutter
from whisper_service.types import SAMPLE_RATE, WINDOW_SAMPLES, Audio

Script = Sequence[tuple[float, bool]]
"""Seconds of speech, or of none, one after the other."""
LOUD = 0.3


def audio_of(script: Script) -> Audio:
    parts = [
        np.full(round(seconds * SAMPLE_RATE), LOUD if is_speech else 0.0, np.float32)
        for seconds, is_speech in script
    ]
    return np.concatenate(parts)


def windows_of(
    audio: Audio, *, max_pause: float = 5.0, block: int = 5 * SAMPLE_RATE
) -> list[FileWindow]:
    cutter = WindowCutter(FakeDetector(), max_pause=round(max_pause * SAMPLE_RATE))
    windows: list[FileWindow] = []

    def take() -> None:
        while (window := cutter.cut()) is not None:
            windows.append(window)

    for at in range(0, len(audio), block):
        cutter.push(audio[at : at + block])
        take()
    cutter.end()
    take()
    return windows


def borders(window: FileWindow) -> list[float]:
    """Seconds at which each chunk begins and ends."""
    return [at / SAMPLE_RATE for chunk in window.chunks for at in (chunk.start, chunk.end)]


def test_what_lies_far_from_speech_is_left_out_and_its_times_are_those_of_the_file() -> None:
    (window,) = windows_of(audio_of([(10, False), (2, True), (3, False), (2, True), (60, False)]))
    assert borders(window) == pytest.approx([9.6, 12.4, 14.6, 17.4], abs=0.11)
    second = len(window.chunks[0])
    assert window.position(second - 1) == window.chunks[0].end - 1
    assert window.position(second) == window.chunks[1].start
    assert window.offset(window.chunks[1].start) == second
    assert window.offset(13 * SAMPLE_RATE) == second  # in what was left out


def test_a_long_pause_begins_a_new_window() -> None:
    audio = audio_of([(2, True), (4, False), (2, True)])
    assert len(windows_of(audio, max_pause=5)) == 1
    assert len(windows_of(audio, max_pause=3)) == 2


def test_a_window_does_not_wait_for_speech_to_go_on_after_a_long_pause() -> None:
    cutter = WindowCutter(FakeDetector(), max_pause=2 * SAMPLE_RATE)
    cutter.push(audio_of([(2, True), (3, False)]))
    assert cutter.cut() is not None


def test_the_rest_of_long_speech_is_never_a_few_words_alone() -> None:
    phrases = [(2.8, True), (0.3, False)] * 10  # 31 s
    first, second = windows_of(audio_of(phrases))
    assert min(len(first.audio), len(second.audio)) > 9 * SAMPLE_RATE


def test_a_cut_lies_in_the_longest_pause() -> None:
    first, second = windows_of(
        audio_of([(19.7, True), (0.3, False), (4.2, True), (0.8, False), (60, True)])
    )[:2]
    assert first.end / SAMPLE_RATE == pytest.approx(24.6, abs=0.2)
    assert second.chunks[0].start == first.end


def test_without_a_detector_all_sound_counts() -> None:
    cutter = WindowCutter(None, max_pause=5 * SAMPLE_RATE)
    cutter.push(audio_of([(3, False), (4, True), (3, False)]))
    cutter.end()
    window = cutter.cut()
    assert window is not None
    assert borders(window) == pytest.approx([2.6, 7.4], abs=0.11)


@settings(max_examples=60)
@given(
    script=st.lists(st.tuples(st.floats(0.1, 50.0), st.booleans()), min_size=1, max_size=8),
    block=st.sampled_from([1_000, 16_000, 80_000, 480_000]),
)
def test_all_speech_is_in_exactly_one_window_of_at_most_30_s(script, block) -> None:
    audio = audio_of(script)
    windows = windows_of(audio, block=block)
    assert all(0 < len(window.audio) <= WINDOW_SAMPLES for window in windows)
    chunks = [chunk for window in windows for chunk in window.chunks]
    assert all(a.end <= b.start for a, b in itertools.pairwise(chunks))
    held = np.zeros(len(audio), bool)
    for chunk in chunks:
        held[chunk.start : chunk.end] = True
    n_loud = np.cumsum(np.concatenate([[False], audio > 0]))
    heard = n_loud[3 * 512 :] - n_loud[: -3 * 512] == 3 * 512  # three frames on end
    missed = np.flatnonzero(heard & ~held[: len(heard)])
    assert len(missed) == 0
    for window in windows:
        parts = [audio[chunk.start : chunk.end] for chunk in window.chunks]
        assert np.array_equal(np.concatenate(parts), window.audio)
        assert all(
            window.offset(window.position(at)) == at for at in range(0, len(window.audio), 999)
        )
