"""Borders between words: which words are final, where the border lies."""

import pytest

from whisper_service.policy.agreement import Heard
from whisper_service.policy.border import border_range, count_final


def words(*timed: tuple[str, float, float]) -> list[Heard]:
    return [Heard(f" {w}", round(a * 16_000), round(b * 16_000)) for w, a, b in timed]


ONE_TWO_THREE = words(("one", 0.0, 0.4), ("two", 0.5, 0.9), ("three", 1.0, 1.4))


@pytest.mark.parametrize(("end", "n_final"), [(1.45, 2), (1.1, 1), (0.6, 0), (9.0, 2)])
def test_words_at_the_end_of_the_audio_are_not_final(end: float, n_final: int) -> None:
    assert count_final(ONE_TWO_THREE, round(end * 16_000)) == n_final


def test_a_border_never_passes_the_middle_of_a_word_beside_it() -> None:
    low, high = border_range(ONE_TWO_THREE, 2, 24_000)
    assert ONE_TWO_THREE[1].middle <= low <= ONE_TWO_THREE[1].end
    assert ONE_TWO_THREE[2].start <= high <= ONE_TWO_THREE[2].middle
