"""Words of a decode on the stream's own clock."""

from whisper_service.policy.timed_words import to_timed_words
from whisper_service.types import SAMPLE_RATE, Hypothesis, Segment, Word


def said(text: str, *words: Word) -> Hypothesis:
    return Hypothesis("en", 0.9, (Segment(0, 0.0, 1.0, text, words),))


def times(hypothesis: Hypothesis) -> list[tuple[str, float, float]]:
    begin, end = 2 * SAMPLE_RATE, 4 * SAMPLE_RATE
    return [
        (word.text, round(word.start / SAMPLE_RATE, 2), round(word.end / SAMPLE_RATE, 2))
        for word in to_timed_words(hypothesis, begin, end)
    ]


def test_words_have_the_times_of_their_own() -> None:
    words = (Word(" play", 0.0, 0.4, 0.9), Word(" music", 0.4, 1.0, 0.9))
    assert times(said(" play music", *words)) == [(" play", 2.0, 2.4), (" music", 2.4, 3.0)]


def test_words_that_got_one_time_for_all_share_it_by_their_letters() -> None:
    """Or a border between them would take them both, or none."""
    both = Word(" play music", 0.0, 1.1, 0.9)
    assert times(said(" play music", both)) == [(" play", 2.0, 2.5), (" music", 2.5, 3.1)]


def test_without_word_times_the_segment_is_shared() -> None:
    assert times(said(" play music"))[0] == (" play", 2.0, 2.45)
