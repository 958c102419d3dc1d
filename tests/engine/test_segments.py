import pytest

from whisper_service.engine.segments import TokenSpan, split

BEGIN = 1000


def t(seconds: float) -> int:
    return BEGIN + round(seconds / 0.02)


def test_each_pair_of_timestamps_is_a_segment() -> None:
    tokens = [t(0), 1, 2, t(1), t(1.5), 3, t(2)]
    assert split(tokens, BEGIN, 5.0) == [
        TokenSpan(0.0, 1.0, (t(0), 1, 2, t(1))),
        TokenSpan(1.5, 2.0, (t(1.5), 3, t(2))),
    ]


def test_unfinished_last_segment_keeps_its_text_and_ends_with_the_audio() -> None:
    tokens = [t(0), 1, t(1), t(1), 2, 3]
    assert split(tokens, BEGIN, 5.0)[-1] == TokenSpan(1.0, 5.0, (t(1), 2, 3))


def test_text_without_any_closing_timestamp_lasts_to_the_end() -> None:
    assert split([t(0), 1, 2], BEGIN, 4.5) == [TokenSpan(0.0, 4.5, (t(0), 1, 2))]


def test_one_closing_timestamp_ends_the_only_segment() -> None:
    assert split([t(0.4), 1, t(2)], BEGIN, 4.5) == [TokenSpan(0.0, 2.0, (t(0.4), 1, t(2)))]


def test_times_in_the_padding_are_moved_to_the_end_of_the_audio() -> None:
    tokens = [t(0), 1, t(1), t(7), 2, t(9)]
    assert [(s.start, s.end) for s in split(tokens, BEGIN, 5.0)] == [(0.0, 1.0), (5.0, 5.0)]


def test_plain_text_is_one_segment() -> None:
    assert split([1, 2], BEGIN, 3.0) == [TokenSpan(0.0, 3.0, (1, 2))]


@pytest.mark.parametrize(
    "tokens",
    [[], [t(0)], [t(0), t(0)], [t(0), 1, t(1), t(1)], [t(0), 1, t(1), t(1), 2, t(3), t(3), 4]],
)
def test_no_token_is_lost_or_doubled(tokens: list[int]) -> None:
    assert [token for span in split(tokens, BEGIN, 5.0) for token in span.tokens] == tokens
