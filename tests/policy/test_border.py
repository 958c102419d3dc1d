"""Borders between words: which words are final, where the border lies, what is known after it."""

import pytest

from whisper_service.policy.agreement import Heard
from whisper_service.policy.border import border_range, count_final, drop_final


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


def texts(*, border: float, last: Heard | None, begin: float = 0.0) -> list[str]:
    rest = drop_final(ONE_TWO_THREE, round(border * 16_000), last, begin=round(begin * 16_000))
    return [word.text for word in rest]


def test_words_belong_to_the_side_their_middle_is_on() -> None:
    assert texts(border=0.6, last=None) == [" two", " three"]
    assert texts(border=0.8, last=None) == [" three"]


def test_at_the_border_the_text_of_the_last_final_word_decides() -> None:
    (two,) = words(("Two,", 0.4, 0.75))
    assert texts(border=0.65, last=two) == [" three"]
    (one,) = words(("one", 0.1, 0.6))
    assert texts(border=0.75, last=one) == [" two", " three"]


def test_a_word_said_twice_is_not_dropped() -> None:
    (earlier,) = words(("one", -0.6, -0.2))
    assert texts(border=-0.1, last=earlier, begin=-0.6) == [" one", " two", " three"]
    assert texts(border=-0.1, last=earlier, begin=-0.1) == [" one", " two", " three"]
