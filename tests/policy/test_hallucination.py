"""What is taken for made up, and what is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.world import FakeDetector, Spoken, config, stream, synthesise
from whisper_service.policy.hallucination import is_hallucination, without_hallucinations
from whisper_service.policy.stream_events import Final
from whisper_service.policy.stream_plan import StreamPlan
from whisper_service.types import DecodeOptions, Hypothesis, Segment, Word

OPTIONS = DecodeOptions()


def hypothesis(*texts: str, **fields: float) -> Hypothesis:
    """A segment of a second for each text."""
    segments = (Segment(i, float(i), i + 1.0, text, **fields) for i, text in enumerate(texts))
    return Hypothesis("en", 0.9, tuple(segments))


def text(said: Hypothesis) -> str:
    return "".join(segment.text for segment in said.segments)


@pytest.mark.parametrize(
    ("looped", "left"),
    [
        (" I know. I know. I know. I know. I know.", " I know."),
        (" so we go go go go go go on", " so we go on"),
        (" one two three one two three one two three one two three", " one two three"),
        (" a, A. a! a?", " a,"),
    ],
)
def test_of_a_loop_one_copy_is_left(looped, left):
    filtered = without_hallucinations(hypothesis(looped, compression_ratio=3.0), OPTIONS)
    assert (text(filtered.hypothesis), filtered.n_loops) == (left, 1)


def test_a_loop_across_segments_is_one_too():
    filtered = without_hallucinations(
        hypothesis(*[" Well, yes."] * 9, compression_ratio=5.0), OPTIONS
    )
    (segment,) = filtered.hypothesis.segments
    assert (segment.text, segment.end) == (" Well, yes.", 9.0)


def test_what_is_left_of_a_loop_lasts_as_long_as_the_loop():
    words = tuple(Word(" no", i / 2, i / 2 + 0.4, 0.9) for i in range(8))
    segment = Segment(0, 0.0, 4.0, " no" * 8, words, compression_ratio=3.0)
    filtered = without_hallucinations(Hypothesis("en", 0.9, (segment,)), OPTIONS)
    assert filtered.hypothesis.segments[0].words == (Word(" no", 0.0, 3.9, 0.9),)


def test_repetition_that_the_decode_is_sure_of_is_speech():
    said = hypothesis(" zero zero zero zero zero", compression_ratio=1.2)
    assert without_hallucinations(said, OPTIONS).hypothesis is said


def test_three_times_is_no_loop():
    said = hypothesis(" no no no", compression_ratio=3.0)
    assert without_hallucinations(said, OPTIONS).hypothesis is said


@pytest.mark.parametrize("fields", [{"no_speech_prob": 0.7}, {"avg_logprob": -1.2}])
def test_a_stock_phrase_out_of_noise_is_dropped(fields):
    filtered = without_hallucinations(
        hypothesis(" Thanks for watching!", " real words", **fields), OPTIONS
    )
    assert (text(filtered.hypothesis), filtered.n_phrases) == (" real words", 1)


def test_a_stock_phrase_that_somebody_says_is_kept():
    said = hypothesis(" Thank you.", no_speech_prob=0.1, avg_logprob=-0.3)
    assert without_hallucinations(said, OPTIONS).hypothesis is said


@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        (" He was there.", {"avg_logprob": -1.1}, False),
        (" He was there.", {"avg_logprob": -1.3}, True),
        (" You", {"avg_logprob": -0.85, "no_speech_prob": 0.5}, True),
        (" No. No. Leave now and find a safe distance. Live safe.", {}, True),
        (" No.", {}, False),
    ],
)
def test_text_that_the_decode_does_not_believe_or_nobody_can_speak_is_invented(
    text, fields, expected
):
    assert is_hallucination(hypothesis(text, **fields), OPTIONS, speech_seconds=0.9) is expected


@pytest.mark.parametrize(
    ("text", "seconds", "expected"),
    [
        (" What you can do for your country.", 0.42, True),  # a breath after the sentence
        (" What you can do for your country.", 1.5, False),  # said again
        (" No.", 0.3, False),
        (" What you can do for your friend.", 0.42, False),  # no echo; it may be cut late
    ],
)
def test_what_was_just_said_is_not_said_again_in_a_breath(text, seconds, expected):
    before = "Ask not. Ask what you can do for your country. No."
    before = before.removesuffix(" No.") if "What" in text else before
    assert is_hallucination(hypothesis(text), OPTIONS, seconds, before) is expected


def test_no_thresholds_switch_it_off():
    off = DecodeOptions(
        compression_ratio_threshold=None, logprob_threshold=None, no_speech_threshold=None
    )
    said = hypothesis(" a a a a a", no_speech_prob=1.0, avg_logprob=-9.0, compression_ratio=9.0)
    assert without_hallucinations(said, off).hypothesis is said
    assert not is_hallucination(said, off, speech_seconds=0.1)


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=40))
def test_no_word_comes_in_and_none_goes_altogether(letters):
    said = hypothesis("".join(f" {letter}" for letter in letters), compression_ratio=3.0)
    once = without_hallucinations(said, OPTIONS).hypothesis
    assert set(text(once).split()) == set(letters)
    assert len(text(once)) <= len(text(said))


def test_a_stream_tells_no_loop_and_counts_it():
    plan = StreamPlan(config(partial_interval=0.0), detector=FakeDetector())
    plan.receive_audio(synthesise([Spoken(0.4, 0.05)] * 3))
    plan.stop()
    while (job := plan.next_job()) is not None:
        plan.receive_hypothesis(job, hypothesis(" on and on" * 9, compression_ratio=4.0))
    finals = [event.segment.text for event in plan.events() if isinstance(event, Final)]
    assert finals == [" on and on"]
    assert (plan.n_loops, plan.n_phrases) == (1, 0)


def test_a_stream_without_any_counts_none():
    assert stream(synthesise([Spoken(0.4, 0.05)] * 6), config()).plan.n_loops == 0
