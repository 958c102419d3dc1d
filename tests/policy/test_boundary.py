"""Boundaries between words: where they lie."""

from whisper_service.policy.boundary import boundary_range
from whisper_service.policy.timed_words import TimedWord


def words(*timed: tuple[str, float, float]) -> list[TimedWord]:
    return [TimedWord(f" {w}", round(a * 16_000), round(b * 16_000)) for w, a, b in timed]


ONE_TWO_THREE = words(("one", 0.0, 0.4), ("two", 0.5, 0.9), ("three", 1.0, 1.4))


def test_a_boundary_never_passes_the_middle_of_a_word_beside_it() -> None:
    low, high = boundary_range(ONE_TWO_THREE[1], ONE_TWO_THREE[2], 24_000)
    assert ONE_TWO_THREE[1].middle <= low <= ONE_TWO_THREE[1].end
    assert ONE_TWO_THREE[2].start <= high <= ONE_TWO_THREE[2].middle
