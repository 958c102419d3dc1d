"""Words, letters and punctuation in text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_service.policy.text import (
    ends_sentence,
    ends_with_mark,
    split_trailing_marks,
    split_words,
    without_leading_marks,
)


@pytest.mark.parametrize("word", [" end.", " end?", ' end."', " 終わり。", " end…", " he said!'"])
def test_a_sentence_ends_with_its_mark(word: str) -> None:
    assert ends_sentence(word)


@pytest.mark.parametrize("word", [" end", " end,", "", " 3.5", ' "'])
def test_and_not_without(word: str) -> None:
    assert not ends_sentence(word)


@pytest.mark.parametrize(
    ("text", "body", "mark"),
    [
        (" Americans.", " Americans", "."),
        (" what?!", " what", "?!"),
        (" 終わり。", " 終わり", "。"),
        (' "end."', ' "end."', ""),
        (" 3.5", " 3.5", ""),
        (".", "", "."),
    ],
)
def test_marks_come_off_the_end(text: str, body: str, mark: str) -> None:
    assert split_trailing_marks(text) == (body, mark)
    assert ends_with_mark(text) is bool(mark)


def test_and_off_the_beginning() -> None:
    assert without_leading_marks(", ask not.") == " ask not."
    assert without_leading_marks("...") == ""


@given(st.text())
def test_split_words_join_to_the_text(text: str) -> None:
    assert text.strip() == "" or "".join(split_words(text)) == text


def test_scripts_without_spaces_are_split_by_character() -> None:
    assert split_words(" 你好。 hello") == [" 你", "好。", " hello"]
