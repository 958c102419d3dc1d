"""Marks that Whisper joins to words."""

import pytest

from whisper_service.policy.punctuation import (
    ends_sentence,
    is_marked,
    split_trailing,
    without_leading,
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
    assert split_trailing(text) == (body, mark)
    assert is_marked(text) is bool(mark)


def test_and_off_the_beginning() -> None:
    assert without_leading(", ask not.") == " ask not."
    assert without_leading("...") == ""
