"""Agreement of successive hypotheses, word by word."""

import pytest

from whisper_service.policy.agreement import Agreement, align_prefix
from whisper_service.policy.text import split_words
from whisper_service.policy.timed_words import TimedWord, join


def timed(text: str) -> list[TimedWord]:
    """Words of a fifth of a second each."""
    return [TimedWord(w, i * 3200, (i + 1) * 3200) for i, w in enumerate(split_words(text))]


def test_what_two_hypotheses_begin_with_alike_is_stable() -> None:
    agreement = Agreement()
    agreement.update(timed(" a b c d"), is_complete=False)
    assert join(agreement.update(timed(" a b x y"), is_complete=True)) == " x y"
    assert join(agreement.stable) == " a b"


def test_a_last_word_that_may_be_cut_is_shown_once_two_hypotheses_have_it() -> None:
    agreement = Agreement()
    assert join(agreement.update(timed(" so"), is_complete=False)) == " so"  # better than nothing
    assert join(agreement.update(timed(" some more"), is_complete=False)) == " some"
    assert join(agreement.update(timed(" some morning light"), is_complete=False)) == " morning"
    assert join(agreement.update(timed(" some morning light"), is_complete=False)) == " light"
    assert agreement.text == " some morning light"


def test_nothing_is_held_back_before_a_pause() -> None:
    agreement = Agreement()
    assert join(agreement.update(timed(" some morning light"), is_complete=True))[-5:] == "light"


def test_the_last_word_may_have_been_cut_unless_a_pause_followed() -> None:
    for is_complete, stable in ((False, " a"), (True, " a b")):
        agreement = Agreement()
        agreement.update(timed(" a b"), is_complete=is_complete)
        agreement.update(timed(" a b c"), is_complete=False)
        assert join(agreement.stable) == stable


def test_stable_words_stay_when_a_later_hypothesis_disagrees() -> None:
    agreement = Agreement()
    agreement.update(timed(" one two three"), is_complete=True)
    agreement.update(timed(" one two three"), is_complete=True)
    assert join(agreement.update(timed(" won two three four"), is_complete=True)) == " four"
    assert join(agreement.merge(timed(" won two three four"))) == " one two three four"


@pytest.mark.parametrize(
    ("known", "said", "expected"), [(" a b", " a b c", 2), (" a b", " a c", 2), (" x a", " a c", 1)]
)
def test_alignment_finds_how_far_a_hypothesis_repeats_what_is_known(
    known: str, said: str, expected: int
) -> None:
    assert align_prefix(timed(known), timed(said)) == expected


def test_alignment_ignores_case_and_punctuation() -> None:
    assert align_prefix(timed(" Hello, world."), timed(" hello world and")) == 2
