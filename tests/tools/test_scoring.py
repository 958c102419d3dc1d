"""Errors are counted as word error rates count them."""

import pytest

from tools.demo_model.espeak import SpokenWord
from tools.demo_model.scoring import WordErrors, aligned, segment_time_errors, word_errors
from tools.demo_model.words import words_of


@pytest.mark.parametrize(
    ("truth", "heard", "n_errors"),
    [
        ("one two three", "one two three", 0),
        ("one two three", "one three", 1),
        ("one two three", "one two two three", 1),
        ("one two three", "One, five three.", 1),
        ("", "one", 1),
    ],
)
def test_word_errors(truth: str, heard: str, n_errors: int) -> None:
    assert word_errors(truth, heard) == WordErrors(n_errors, len(truth.split()))


def test_aligned_words_are_the_equal_ones() -> None:
    assert aligned(["one", "two", "three"], ["one", "five", "three"]) == {0: 0, 2: 2}


def test_segment_times_are_held_against_their_first_and_last_words() -> None:
    zero, one = words_of("en")[:2]
    truth = [SpokenWord(zero, 16_000, 24_000), SpokenWord(one, 32_000, 40_000)]
    segments = [{"text": " zero one", "start": 1.1, "end": 2.3}]
    assert segment_time_errors(truth, segments) == pytest.approx([0.1, 0.2])
