"""A file's plan on audio whose words are known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.policy.world import FakeDetector, Spoken, decode, silence, synthesise, words_of
from whisper_service.policy.file_plan import FilePlan
from whisper_service.types import (
    SAMPLE_RATE,
    SILENT_PADDING,
    WINDOW_SAMPLES,
    Audio,
    DecodeJob,
    DecodeOptions,
    Hypothesis,
    Segment,
    Word,
)

MINUTES = [Spoken(0.5, 0.1 + 0.5 * (i % 7 == 6)) for i in range(99)]
ENGLISH = DecodeOptions(language="en")


def plan_of(options: DecodeOptions, *, max_in_flight: int, **more: bool) -> FilePlan:
    return FilePlan(options, max_in_flight=max_in_flight, detector=FakeDetector(), **more)


def transcribe(
    plan: FilePlan,
    audio: Audio,
    answer: Callable[[DecodeJob], Hypothesis] = decode,
    *,
    block: int = 5 * SAMPLE_RATE,
    newest_first: bool = False,
) -> tuple[list[Segment], list[DecodeJob]]:
    """Run a plan as its docstring says; return its segments and the jobs it asked for."""
    segments, jobs, at = [], [], 0
    out: list[DecodeJob] = []
    while not plan.is_done:
        while plan.wants_audio and at < len(audio):
            plan.receive_audio(audio[at : at + block])
            at += block
        if at >= len(audio) and plan.wants_audio:
            plan.end_of_audio()
        while (job := plan.next_job()) is not None:
            out.append(job)
        jobs += [job for job in out if job not in jobs]
        if out:
            done = out.pop() if newest_first else out.pop(0)
            plan.receive_hypothesis(done, answer(done))
        segments += plan.segments()
    return segments, jobs


def text_of(segments: list[Segment]) -> list[str]:
    return "".join(segment.text for segment in segments).split()


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("block", [1_000, 80_000, 2_000_000])
def test_every_word_comes_once_in_order(block: int, newest_first: bool) -> None:
    plan = plan_of(ENGLISH, max_in_flight=3)
    segments, _ = transcribe(plan, synthesise(MINUTES), block=block, newest_first=newest_first)
    assert text_of(segments) == words_of(MINUTES)
    assert [segment.id for segment in segments] == list(range(len(segments)))


def test_windows_are_cut_in_silence_and_are_nearly_full() -> None:
    _, jobs = transcribe(plan_of(ENGLISH, max_in_flight=3), synthesise(MINUTES))
    assert all(len(job.audio) <= WINDOW_SAMPLES for job in jobs)
    assert all(len(job.audio) > 18 * SAMPLE_RATE for job in jobs[:-1])
    assert not any(job.audio[-1] or job.audio[0] for job in jobs)


def test_little_silence_is_encoded_after_speech_whose_language_is_known() -> None:
    plans = (
        plan_of(ENGLISH, max_in_flight=3),
        plan_of(DecodeOptions(), max_in_flight=3),
        FilePlan(ENGLISH, max_in_flight=3, detector=None),
    )
    paddings = [{job.padding for job in transcribe(plan, synthesise(MINUTES))[1]} for plan in plans]
    assert paddings == [{SILENT_PADDING}, {None}, {None}]


def test_no_more_windows_are_in_flight_or_waiting_than_allowed() -> None:
    plan = plan_of(ENGLISH, max_in_flight=2)
    while plan.wants_audio:
        plan.receive_audio(synthesise(MINUTES[:20]))
    assert plan.next_job() is not None
    assert plan.next_job() is not None
    assert plan.next_job() is None


@pytest.mark.parametrize(("multilingual", "asked"), [(False, ("de", None)), (True, (None, "de"))])
def test_the_language_of_the_first_window_is_known_before_the_others_go(multilingual, asked):
    plan = plan_of(DecodeOptions(), max_in_flight=4, multilingual=multilingual)
    while plan.wants_audio:
        plan.receive_audio(synthesise(MINUTES))
    first = plan.next_job()
    assert first is not None
    assert first.options.language is None
    assert plan.next_job() is None
    plan.receive_hypothesis(first, replace(decode(first), language="de"))
    second = plan.next_job()
    assert second is not None
    assert plan.language == "de"
    assert (second.options.language, second.options.likely_language) == asked


def test_a_window_without_text_does_not_decide_the_language() -> None:
    plan = plan_of(DecodeOptions(), max_in_flight=4)
    plan.receive_audio(np.full(2 * WINDOW_SAMPLES, 0.1, np.float32))
    plan.end_of_audio()
    first = plan.next_job()
    assert first is not None
    plan.receive_hypothesis(first, Hypothesis("nn", 0.1))
    second = plan.next_job()
    assert second is not None
    assert second.options.language is None


def test_silence_is_neither_decoded_nor_kept() -> None:
    plan = plan_of(ENGLISH, max_in_flight=2)
    segments, jobs = transcribe(plan, silence(200.0))
    assert (segments, jobs, plan.duration, plan.position) == ([], [], 200.0, 200.0)


def test_times_after_long_silence_are_exact() -> None:
    audio = np.concatenate((silence(1000.0), synthesise([Spoken(0.5, 1.0)], lead=0.25)))
    segments, jobs = transcribe(plan_of(ENGLISH, max_in_flight=2), audio)
    assert segments[0].start == pytest.approx(1000.25, abs=1e-3)
    assert len(jobs) == 1


def test_a_tail_that_a_hypothesis_left_out_is_decoded_again() -> None:
    def first_half(job: DecodeJob) -> Hypothesis:
        whole = decode(replace(job, options=replace(job.options, timestamps="word")))
        words = whole.segments[0].words
        kept = words[: max(1, (len(words) + 1) // 2)]
        text = "".join(word.text for word in kept)
        return Hypothesis("en", 1.0, (Segment(0, kept[0].start, kept[-1].end, text),))

    script = [Spoken(0.8, 0.2)] * 12
    segments, jobs = transcribe(plan_of(ENGLISH, max_in_flight=2), synthesise(script), first_half)
    assert text_of(segments)[:11] == words_of(script)[:11]
    assert len(jobs) == 3  # of 12 words, 6 and 3 and 2; what is left is shorter than a second


def test_a_decode_that_never_gets_on_ends_after_a_bounded_number_of_tries() -> None:
    def stuck(job: DecodeJob) -> Hypothesis:
        return Hypothesis("en", 1.0, (Segment(0, 0.0, 0.01, " a"),))

    segments, jobs = transcribe(plan_of(ENGLISH, max_in_flight=2), synthesise(MINUTES[:20]), stuck)
    assert (text_of(segments), len(jobs)) == (["a"], 1)


def test_a_window_that_hit_the_token_limit_goes_on_from_its_last_segment() -> None:
    def limited(job: DecodeJob) -> Hypothesis:
        answer = decode(replace(job, options=replace(job.options, timestamps="word")))
        words = answer.segments[0].words
        if len(words) <= 5:
            return answer
        parts = (words[:5], words[5:6])
        return Hypothesis(
            "en",
            1.0,
            tuple(
                Segment(i, p[0].start, p[-1].end, "".join(w.text for w in p), tokens=(1,) * 111)
                for i, p in enumerate(parts)
            ),
        )

    script = [Spoken(0.5, 0.1)] * 12
    segments, _ = transcribe(plan_of(ENGLISH, max_in_flight=2), synthesise(script), limited)
    assert text_of(segments) == words_of(script)


def test_segments_never_leave_the_file_or_go_back() -> None:
    def sloppy(job: DecodeJob) -> Hypothesis:
        end = len(job.audio) / SAMPLE_RATE
        return Hypothesis("en", 1.0, (Segment(0, 0, 9.0, " a"), Segment(1, 8.0, end + 5, " b")))

    plan = plan_of(ENGLISH, max_in_flight=3)
    segments, _ = transcribe(plan, synthesise(MINUTES), sloppy)
    times = [t for segment in segments for t in (segment.start, segment.end)]
    assert times == sorted(times)
    assert times[-1] <= plan.duration


def test_one_slow_window_does_not_pile_the_file_up_behind_it() -> None:
    plan = plan_of(ENGLISH, max_in_flight=2)
    minute = synthesise(MINUTES)
    slow: DecodeJob | None = None
    n_minutes = 0
    while plan.wants_audio:
        plan.receive_audio(minute)
        n_minutes += 1
        while (job := plan.next_job()) is not None:
            slow = slow or job
            if job is not slow:
                plan.receive_hypothesis(job, decode(job))
        assert n_minutes < 10
    assert plan.segments() == []


def test_words_stay_within_their_segment() -> None:
    def overlapping(job: DecodeJob) -> Hypothesis:
        whole = len(job.audio) / SAMPLE_RATE
        words = (Word(" a", 0.0, 1.0, 1.0), Word(" b", 0.5, 1.5, 1.0))
        first = Segment(0, 0.0, 1.0, " a", words[:1])
        return Hypothesis("en", 1.0, (first, Segment(1, 0.5, whole, " b", words[1:])))

    segments, _ = transcribe(plan_of(ENGLISH, max_in_flight=1), synthesise(MINUTES), overlapping)
    for segment in segments:
        assert all(segment.start <= w.start <= w.end <= segment.end for w in segment.words)


def test_text_made_up_between_silences_is_left_out_where_that_is_asked_for() -> None:
    def inventive(job: DecodeJob) -> Hypothesis:
        said = Segment(0, 1.0, 2.0, " one", (Word(" one", 1.0, 2.0, 0.9),))
        made_up = Segment(1, 8.0, 8.1, " bye", (Word(" bye", 8.0, 8.1, 0.05),))
        is_whole = len(job.audio) > 9 * SAMPLE_RATE
        return Hypothesis("en", 1.0, (said, made_up) if is_whole else ())

    audio = np.full(14 * SAMPLE_RATE, 0.1, np.float32)
    options = replace(ENGLISH, timestamps="word", hallucination_silence_threshold=2.0)
    segments, jobs = transcribe(plan_of(options, max_in_flight=1), audio, inventive)
    assert (text_of(segments), len(jobs[1].audio)) == (["one"], 6 * SAMPLE_RATE)
