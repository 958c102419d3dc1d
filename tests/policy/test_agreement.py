"""Agreement of successive hypotheses, word by word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_service.policy.agreement import (
    Agreement,
    Heard,
    align_prefix,
    join,
    split_words,
)


def heard(text: str) -> list[Heard]:
    """Words of a fifth of a second each."""
    return [Heard(w, i * 3200, (i + 1) * 3200) for i, w in enumerate(split_words(text))]


def test_what_two_hypotheses_begin_with_alike_is_stable() -> None:
    agreement = Agreement()
    assert join(agreement.hear(heard(" a b c d"), is_complete=False)) == " a b c d"
    assert join(agreement.hear(heard(" a b x y"), is_complete=False)) == " x y"
    assert join(agreement.stable) == " a b"


def test_the_last_word_may_have_been_cut_unless_a_pause_followed() -> None:
    for is_complete, stable in ((False, " a"), (True, " a b")):
        agreement = Agreement()
        agreement.hear(heard(" a b"), is_complete=is_complete)
        agreement.hear(heard(" a b c"), is_complete=False)
        assert join(agreement.stable) == stable


def test_stable_words_stay_when_a_later_hypothesis_disagrees() -> None:
    agreement = Agreement()
    agreement.hear(heard(" one two three"), is_complete=True)
    agreement.hear(heard(" one two three"), is_complete=True)
    assert join(agreement.hear(heard(" won two three four"), is_complete=False)) == " four"
    assert join(agreement.merge(heard(" won two three four"))) == " one two three four"


@pytest.mark.parametrize(
    ("known", "said", "expected"), [(" a b", " a b c", 2), (" a b", " a c", 2), (" x a", " a c", 1)]
)
def test_alignment_finds_how_far_a_hypothesis_repeats_what_is_known(
    known: str, said: str, expected: int
) -> None:
    assert align_prefix(heard(known), heard(said)) == expected


def test_alignment_ignores_case_and_punctuation() -> None:
    assert align_prefix(heard(" Hello, world."), heard(" hello world and")) == 2


@given(st.text())
def test_split_words_join_to_the_text(text: str) -> None:
    assert text.strip() == "" or "".join(split_words(text)) == text


def test_scripts_without_spaces_are_split_by_character() -> None:
    assert split_words(" 你好。 hello") == [" 你", "好。", " hello"]
