"""Boundaries between words: which words can be committed, where the boundary lies."""

import pytest

from whisper_service.policy.boundary import boundary_range, count_committable
from whisper_service.policy.timed_words import TimedWord


def words(*timed: tuple[str, float, float]) -> list[TimedWord]:
    return [TimedWord(f" {w}", round(a * 16_000), round(b * 16_000)) for w, a, b in timed]


ONE_TWO_THREE = words(("one", 0.0, 0.4), ("two", 0.5, 0.9), ("three", 1.0, 1.4))


@pytest.mark.parametrize(("end", "n_committable"), [(1.45, 2), (1.1, 1), (0.6, 0), (9.0, 2)])
def test_words_at_the_end_of_the_audio_are_not_final(end: float, n_committable: int) -> None:
    assert count_committable(ONE_TWO_THREE, round(end * 16_000)) == n_committable


def test_a_boundary_never_passes_the_middle_of_a_word_beside_it() -> None:
    low, high = boundary_range(ONE_TWO_THREE[1], ONE_TWO_THREE[2], 24_000)
    assert ONE_TWO_THREE[1].middle <= low <= ONE_TWO_THREE[1].end
    assert ONE_TWO_THREE[2].start <= high <= ONE_TWO_THREE[2].middle
