"""Where a window's segments lie in the file, and that every one has a length."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_service.policy.segment_times import (
    has_pauses,
    in_order,
    split_at_pauses,
    to_file_times,
)
from whisper_service.policy.window_cutter import FileWindow, Span
from whisper_service.types import SAMPLE_RATE, Segment, Word


def span(start: float, end: float) -> Span:
    return Span(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE))


def window_of(chunks: list[Span], speech: list[Span]) -> FileWindow:
    return FileWindow(np.zeros(sum(map(len, chunks)), np.float32), tuple(chunks), tuple(speech))


WINDOW = window_of([span(10, 13), span(20, 24)], [span(10.4, 12.6), span(20.4, 23.6)])
"""Its audio: 0 to 3 s are from second 10 of the file, 3 to 7 s from second 20."""


@pytest.mark.parametrize(
    ("start", "end", "begins", "ends"),
    [
        (0.0, 2.8, 10.35, 12.65),  # from and to silence: moved to speech
        (0.6, 2.0, 10.6, 12.0),  # within speech: left alone
        (3.0, 7.0, 20.35, 23.65),  # begins where chunks meet: the later one's
        (0.5, 3.0, 10.5, 12.65),  # ends where chunks meet: the earlier one's
        (0.5, 5.0, 10.5, 22.0),  # over both
    ],
)
def test_a_segment_moves_to_the_files_clock_and_to_speech(start, end, begins, ends) -> None:
    moved = to_file_times(Segment(0, start, end, " a"), WINDOW, 0)
    assert (moved.start, moved.end) == pytest.approx((begins, ends))


def test_a_decode_that_began_within_the_window_counts_from_there() -> None:
    moved = to_file_times(Segment(0, 0.5, 1.0, " a"), WINDOW, 4 * SAMPLE_RATE)
    assert (moved.start, moved.end) == pytest.approx((21.5, 22.0))


def test_words_stay_within_their_segment() -> None:
    words = (Word(" a", 0.0, 0.5, 0.9), Word(" b", 2.0, 2.9, 0.9))
    moved = to_file_times(Segment(0, 0.0, 2.8, " a b", words), WINDOW, 0)
    assert [(word.start, word.end) for word in moved.words] == [
        pytest.approx((10.35, 10.5)),
        pytest.approx((12.0, 12.65)),
    ]


TALK = window_of([span(10, 16)], [span(10.4, 12.0), span(12.3, 13.0), span(13.6, 15.5)])
"""A breath of 0.3 s at 12.0, a pause of 0.6 s at 13.0."""


def said(*words: tuple[str, float, float]) -> Segment:
    spoken = tuple(Word(text, start, end, 0.9) for text, start, end in words)
    text = "".join(word.text for word in spoken)
    return Segment(0, spoken[0].start, spoken[-1].end, text, spoken, tokens=(1, 2, 3))


def test_a_word_moves_to_the_speech_that_most_of_it_lies_in() -> None:
    """Alignment gives a pause to one of the words beside it."""
    talk = said((" a", 0.4, 1.9), (" b", 1.9, 3.4), (" c", 3.4, 5.4))
    moved = to_file_times(talk, TALK, 0)
    assert [(word.start, word.end) for word in moved.words] == [
        pytest.approx((10.4, 11.9)),
        pytest.approx((12.25, 13.05)),
        pytest.approx((13.55, 15.4)),
    ]


def test_a_segment_is_split_where_nobody_speaks_for_a_while() -> None:
    talk = to_file_times(said((" a", 0.4, 1.9), (" b", 1.9, 3.4), (" c", 3.4, 5.4)), TALK, 0)
    before, after = split_at_pauses(talk, TALK)
    assert (before.text, after.text) == (" a b", " c")
    assert (before.start, before.end) == pytest.approx((10.4, 13.05))
    assert (after.start, after.end) == pytest.approx((13.55, 15.4))
    assert before.tokens == after.tokens == ()


@pytest.mark.parametrize("words", [[(" a", 0.4, 1.9), (" b", 1.9, 3.0)], [(" a", 3.7, 5.0)]])
def test_a_segment_without_a_pause_stays_as_it_is(words) -> None:
    talk = to_file_times(said(*words), TALK, 0)
    assert split_at_pauses(talk, TALK) == [talk]
    assert has_pauses(TALK)
    assert not has_pauses(window_of([span(10, 16)], [span(10.4, 12.0), span(12.3, 15.5)]))


def test_a_segment_without_any_speech_keeps_its_place() -> None:
    moved = to_file_times(Segment(0, 2.7, 2.9, " a"), WINDOW, 0)
    assert (moved.start, moved.end) == pytest.approx((12.7, 12.9))


times = st.floats(0, 40, allow_nan=False)


@given(
    said=st.lists(st.tuples(times, times, st.lists(st.tuples(times, times), max_size=4))),
    start=st.floats(0, 39),
    length=st.floats(0.5, 10),
)
def test_whatever_the_model_says_times_go_on_and_have_a_length(said, start, length) -> None:
    segments = [
        Segment(0, *times, " a", tuple(Word(" a", *each, 0.9) for each in words))
        for *times, words in said
    ]
    placed = in_order(segments, start, start + length)
    at = [start, *(t for segment in placed for t in (segment.start, segment.end)), start + length]
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(at))
    assert all(segment.start < segment.end for segment in placed)
    for segment in placed:
        at = [t for word in segment.words for t in (word.start, word.end)]
        at = [segment.start, *at, segment.end]
        assert all(a <= b + 1e-9 for a, b in itertools.pairwise(at))
        assert all(word.start < word.end for word in segment.words)
