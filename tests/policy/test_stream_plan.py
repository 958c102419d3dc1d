"""A stream's plan, event by event, on audio whose words are known."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.policy.world import (
    FakeDetector,
    Spoken,
    config,
    decode,
    read,
    silence,
    stream,
    synthesise,
    words_of,
)
from whisper_service.policy.stream_events import Done, Final, Partial, SpeechEnded, SpeechStarted
from whisper_service.policy.stream_plan import StreamPlan
from whisper_service.policy.text import normalized
from whisper_service.types import (
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    Audio,
    DecodeJob,
    DecodeOptions,
    Hypothesis,
    Segment,
)

SENTENCE = [Spoken(0.4, 0.05)] * 3 + [Spoken(0.4, 1.5)]
FLUENT = [Spoken(0.4, 0.05)] * 60


def test_a_sentence_and_a_pause_make_one_final_between_the_speech_events() -> None:
    run = stream(synthesise(SENTENCE), config(partial_interval=0.0))
    kinds = [type(event) for event in run.events]
    assert kinds == [SpeechStarted, Final, SpeechEnded, Done]
    assert run.finals[0].segment.text == " w0 w1 w2 w3"
    assert run.events[0].at == pytest.approx(0.5, abs=0.04)
    assert run.events[2].at == pytest.approx(0.5 + 4 * 0.45 - 0.05, abs=0.04)


def test_the_final_comes_at_the_endpoint_and_costs_no_decode_of_its_own() -> None:
    plan = StreamPlan(config(endpoint_silence=0.5), detector=FakeDetector())
    audio, finals_at, n_jobs_at_end = synthesise(SENTENCE), [], 0
    for at in range(0, len(audio), 160):
        plan.receive_audio(audio[at : at + 160])
        while (job := plan.next_job()) is not None:
            plan.receive_hypothesis(job, decode(job))
            n_jobs_at_end += at > 2.7 * SAMPLE_RATE
        finals_at += [at / SAMPLE_RATE for e in plan.events() if isinstance(e, Final)]
    speech_end = 0.5 + 4 * 0.45 - 0.05
    assert finals_at == [pytest.approx(speech_end + 0.5, abs=0.08)]
    assert n_jobs_at_end == 0


def test_silence_is_not_decoded_and_has_no_text() -> None:
    for vad in (True, False):
        run = stream(silence(20.0), config(vad=vad))
        assert run.jobs == []
        assert run.events == [Done(20.0, "")]


def test_noise_that_holds_no_words_gives_no_final() -> None:
    noise = np.full(5 * SAMPLE_RATE, 0.1, np.float32)
    run = stream(np.concatenate((noise, silence(1.0))), config(chunk_duration=2.0))
    assert run.finals == []
    assert run.events[-1] == Done(6.0, "")


def test_partials_come_at_their_interval_and_split_stable_from_unstable() -> None:
    run = stream(synthesise(FLUENT[:10]), config(chunk_duration=10.0, partial_interval=1.0))
    first, second, third, fourth = run.partials[:4]
    assert (first.stable, first.unstable.split()[0]) == ("", "w0")
    assert second.stable == ""  # w1 was the last word heard, and might have been cut
    assert third.stable == " w0 w1 w2"
    assert fourth.stable.startswith(third.stable)
    ends = [partial.end - 0.5 for partial in run.partials[:4]]
    assert ends == pytest.approx([0.5, 1.5, 2.5, 3.5], abs=0.1)


def test_the_first_words_after_a_pause_are_asked_for_twice_a_second() -> None:
    """However long the decodes before took, and whatever mark they hear at first."""

    def mark_then_words(job: DecodeJob) -> Hypothesis:
        heard = decode(job)
        is_early = bool(job.prefix) and len(read(job.audio)) < 7
        mark = replace(heard.segments[0], text=".", words=()) if heard.segments else None
        return replace(heard, segments=(mark,)) if is_early and mark else heard

    script = [*[Spoken(0.4, 0.05)] * 3, Spoken(0.4, 0.9), *[Spoken(0.4, 0.05)] * 8]
    run = stream(synthesise(script), config(hold_punctuation=True), decoder=mark_then_words)
    after = [partial for partial in run.partials if partial.start > 2.5]
    assert all(normalized(partial.stable + partial.unstable) for partial in after)
    assert after[0].end - after[0].start < 1.8


def test_no_partials_are_sent_when_their_interval_is_zero() -> None:
    assert stream(synthesise(FLUENT), config(partial_interval=0.0)).partials == []


@pytest.mark.parametrize("chunk", [1.0, 2.0, 5.0, 10.0])
def test_speech_waits_for_its_final_no_longer_than_a_chunk_and_a_long_word(chunk: float) -> None:
    plan = StreamPlan(config(chunk_duration=chunk), detector=FakeDetector())
    audio, waits, n_final = synthesise(FLUENT), [], 0
    for at in range(0, len(audio), 1600):
        plan.receive_audio(audio[at : at + 1600])
        while (job := plan.next_job()) is not None:
            plan.receive_hypothesis(job, decode(job))
        for event in plan.events():
            n_final = event.state.offset if isinstance(event, Final) else n_final
        waits.append(plan.received - n_final / SAMPLE_RATE)
    assert max(waits) <= chunk + 0.6


def test_a_final_says_what_it_ends_at() -> None:
    """A chunk in the middle of speech, a pause in it, its end, and what `stop` cut."""
    long, short = [Spoken(0.4, 0.05)] * 8, [Spoken(0.4, 0.05)] * 3
    script = [*long, Spoken(0.4, 0.6), *long[:5], Spoken(0.4, 1.5), *short]
    run = stream(synthesise(script), config(chunk_duration=2.7, endpoint_silence=1.0))
    ends = [final.ends_at for final in run.finals]
    assert set(ends) == {"words", "pause", "speech"}
    assert ends[0] == "words"
    assert ends[-1] == "speech"


def test_a_chunk_that_ends_in_a_pause_is_final_up_to_it() -> None:
    script = [*[Spoken(0.4, 0.05)] * 4, Spoken(0.4, 0.6), *[Spoken(0.4, 0.05)] * 8]
    run = stream(synthesise(script), config(chunk_duration=2.7, endpoint_silence=1.0))
    assert run.finals[0].segment.text == " w0 w1 w2 w3 w4"
    assert run.words == words_of(script)


def test_what_is_final_of_a_sentence_is_heard_again_and_said_already() -> None:
    run = stream(synthesise(FLUENT), config(chunk_duration=2.0, partial_interval=0.0))
    assert {job.options.timestamps for job in run.jobs} == {"word"}
    finals = iter(run.finals)
    told: list[str] = []
    for job in run.jobs[:6]:
        assert job.prefix.split() == told
        assert [text.strip() for text, _, _ in read(job.audio)][: len(told)] == told
        told += next(finals).segment.text.split()
    assert max(len(job.audio) for job in run.jobs) <= WINDOW_SAMPLES


def test_a_decode_is_drafted_with_what_was_last_heard_and_is_not_final_yet() -> None:
    run = stream(synthesise(FLUENT), config(chunk_duration=4.0))
    assert run.jobs[0].draft == ""
    for before, job in itertools.pairwise(run.jobs):
        heard = "".join(f" {text.strip()}" for text, _, _ in read(before.audio))
        assert heard.endswith(job.draft)
        if len(job.prefix) == len(before.prefix):
            assert job.draft == heard[len(job.prefix) :]


def test_word_times_are_told_only_if_asked_for_and_join_to_the_text() -> None:
    audio = synthesise(FLUENT)
    assert all(not final.segment.words for final in stream(audio, config()).finals)
    for final in stream(audio, config(word_times=True)).finals:
        assert "".join(word.text for word in final.segment.words) == final.segment.text
        starts = [word.start for word in final.segment.words]
        assert starts == sorted(starts)


def test_an_endpoint_in_the_last_unfinished_frame_does_not_keep_the_stream_from_its_end() -> None:
    lead = 0.282  # the pause then becomes the endpoint in a frame of which 48 samples are there
    audio = synthesise([Spoken(0.3, 0.125)], lead=lead)
    run = stream(audio, config(endpoint_silence=0.1))
    assert run.words == ["w0"]
    assert run.is_done()


def test_finalize_tells_what_was_said_so_far_and_the_stream_goes_on() -> None:
    plan = StreamPlan(config(partial_interval=0.0), detector=FakeDetector())
    audio, cut = synthesise(FLUENT[:6]), round(1.38 * SAMPLE_RATE)
    plan.receive_audio(audio[:cut])
    plan.finalize()
    texts = _drain(plan)
    assert texts == [" w0 w1"]
    plan.receive_audio(audio[cut:])
    plan.stop()
    assert texts + _drain(plan) == [" w0 w1", " w2 w3 w4 w5"]


def test_finalize_in_silence_does_nothing() -> None:
    plan = StreamPlan(config(), detector=FakeDetector())
    plan.receive_audio(silence(1.0))
    plan.finalize()
    assert (plan.next_job(), plan.events()) == (None, [])


def test_stop_flushes_a_word_that_has_hardly_begun() -> None:
    audio = np.concatenate((silence(1.0), synthesise([Spoken(0.05, 0.0)], lead=0.0)))
    plan = StreamPlan(config(), detector=FakeDetector())
    plan.receive_audio(audio)
    plan.stop()
    assert plan.next_job() is not None


def test_a_stopped_stream_takes_no_more_audio() -> None:
    plan = StreamPlan(config(), detector=FakeDetector())
    plan.stop()
    assert plan.is_done
    with pytest.raises(ValueError, match="was stopped"):
        plan.receive_audio(silence(1.0))


def test_only_the_job_in_flight_can_be_answered() -> None:
    plan = StreamPlan(config(), detector=FakeDetector())
    plan.receive_audio(synthesise(FLUENT))
    job = plan.next_job()
    assert job is not None
    assert plan.next_job() is None
    plan.abandon(job)
    with pytest.raises(ValueError, match="not the one in flight"):
        plan.receive_hypothesis(job, decode(job))


def test_thirty_seconds_without_a_word_border_become_final_anyway() -> None:
    noise = np.full(65 * SAMPLE_RATE, 0.1, np.float32)
    plan = StreamPlan(config(chunk_duration=10.0), detector=FakeDetector())
    jobs, one_long_word = [], "a" * 20
    for at in range(0, len(noise), SAMPLE_RATE):
        plan.receive_audio(noise[at : at + SAMPLE_RATE])
        while (job := plan.next_job()) is not None:
            jobs.append(job)
            end = len(job.audio) / SAMPLE_RATE
            plan.receive_hypothesis(
                job, Hypothesis("en", 1.0, (Segment(0, 0.0, end, f" {one_long_word}"),))
            )
    assert max(len(job.audio) for job in jobs) == WINDOW_SAMPLES
    assert sum(isinstance(event, Final) for event in plan.events()) == 2


def test_what_was_said_before_a_long_pause_is_the_context_of_the_next_job_if_wanted() -> None:
    audio = np.concatenate((synthesise(SENTENCE), silence(2.0), synthesise(SENTENCE)))
    jobs = stream(audio, config()).jobs
    assert (jobs[0].previous_text, jobs[0].prefix) == ("", "")
    assert (jobs[-1].previous_text, jobs[-1].prefix) == ("w0 w1 w2 w3", "")
    without = stream(audio, config(use_context=False))
    assert {job.previous_text for job in without.jobs} == {""}


def test_after_a_short_pause_a_decode_goes_on_where_the_last_one_ended() -> None:
    script = [*SENTENCE, *SENTENCE]
    run = stream(synthesise(script), config(partial_interval=0.0))
    assert [job.prefix for job in run.jobs] == ["", " w0 w1 w2 w3"]
    assert {job.previous_text for job in run.jobs} == {""}
    assert run.words == words_of(script)


def punctuating(job: DecodeJob) -> Hypothesis:
    """As Whisper, which ends all that it hears: a full stop, or a comma where more follows."""
    found = [text for text, _, _ in read(job.audio)]
    n_said = len(job.prefix.split())
    marked = [f"{text}{',' if i % 4 == 3 else ''}" for i, text in enumerate(found)]
    rest = "".join(marked[n_said:]).removesuffix(",")
    if not rest:
        return Hypothesis("en", 0.9)
    if n_said and marked[n_said - 1].endswith(",") and not job.prefix.endswith((",", ".")):
        rest = f",{rest}"
    return Hypothesis("en", 0.9, (Segment(0, 0.0, len(job.audio) / SAMPLE_RATE, f"{rest}."),))


def texts(audio: Audio, **changes: Any) -> list[str]:
    return [
        final.segment.text for final in stream(audio, config(**changes), decoder=punctuating).finals
    ]


def test_a_mark_is_told_with_what_follows_it() -> None:
    audio = synthesise([*SENTENCE, *SENTENCE])
    assert texts(audio) == [" w0 w1 w2 w3.", " w4 w5 w6 w7."]
    assert texts(audio, hold_punctuation=True) == [" w0 w1 w2 w3", ", w4 w5 w6 w7", "."]


def test_a_mark_that_nothing_follows_is_told_after_a_while_of_silence() -> None:
    plan = StreamPlan(config(hold_punctuation=True), detector=FakeDetector())
    told = []
    audio = np.concatenate((synthesise(SENTENCE), silence(1.0)))
    for at in range(0, len(audio), 1600):
        plan.receive_audio(audio[at : at + 1600])
        while (job := plan.next_job()) is not None:
            plan.receive_hypothesis(job, punctuating(job))
        told += [(e.segment.text, at / SAMPLE_RATE) for e in plan.events() if isinstance(e, Final)]
    (_, said_at), (mark, marked_at) = told
    assert mark == "."
    assert marked_at - said_at == pytest.approx(2.0 - 0.6, abs=0.3)


def test_a_resumed_stream_tells_the_mark_that_was_held() -> None:
    audio = synthesise([*SENTENCE, *SENTENCE])
    asked = config(hold_punctuation=True)
    first, *_ = stream(audio, asked, decoder=punctuating).finals
    assert first.state.mark == "."
    rest = stream(audio[first.state.offset :], asked, decoder=punctuating, resume=first.state)
    told = first.segment.text + "".join(final.segment.text for final in rest.finals)
    assert told == " w0 w1 w2 w3. w4 w5 w6 w7."


def test_finalize_tells_all_marks() -> None:
    plan = StreamPlan(config(hold_punctuation=True), detector=FakeDetector())
    plan.receive_audio(synthesise(FLUENT[:6])[: round(1.38 * SAMPLE_RATE)])
    plan.finalize()
    while (job := plan.next_job()) is not None:
        plan.receive_hypothesis(job, punctuating(job))
    assert [e.segment.text for e in plan.events() if isinstance(e, Final)] == [" w0 w1."]


def test_the_language_is_kept_once_enough_speech_was_heard() -> None:
    run = stream(synthesise(SENTENCE + SENTENCE), config(language=None))
    languages = [job.options.language for job in run.jobs]
    assert languages[0] is None
    assert languages[-1] == "en"
    assert {final.language for final in run.finals} == {"en"}


def test_translated_speech_is_cut_at_pauses_only() -> None:
    script = ([*FLUENT[:9], Spoken(0.4, 0.3)]) * 2
    run = stream(
        synthesise(script), config(task="translate", chunk_duration=2.0, partial_interval=0.0)
    )
    assert [len(final.segment.text.split()) for final in run.finals] == [10, 10]
    assert {job.options.timestamps for job in run.jobs} == {"segment"}


def test_stable_words_win_where_the_final_decode_disagrees() -> None:
    plan = StreamPlan(config(partial_interval=0.5), detector=FakeDetector())
    audio = synthesise(SENTENCE)
    events = []
    for at in range(0, len(audio), 1600):
        plan.receive_audio(audio[at : at + 1600])
        while (job := plan.next_job()) is not None:
            is_late = len(job.audio) > 2.0 * SAMPLE_RATE
            answer = decode(job)
            if is_late:
                changed = answer.segments[0].text.replace("w0", "v0")
                answer = Hypothesis("en", 0.9, (replace(answer.segments[0], text=changed),))
            plan.receive_hypothesis(job, answer)
        events += plan.events()
    stable = [event.stable for event in events if isinstance(event, Partial)][-1]
    (final,) = (event for event in events if isinstance(event, Final))
    assert stable.startswith(" w0")
    assert final.segment.text == " w0 w1 w2 w3"


def test_an_hour_takes_no_more_memory_than_a_minute() -> None:
    minute = stream(synthesise(FLUENT * 1), config(chunk_duration=5.0)).most_held
    script = synthesise(FLUENT)
    longer = stream(np.concatenate([script] * 4), config(chunk_duration=5.0)).most_held
    assert longer <= minute + SAMPLE_RATE


def test_backlog_is_zero_for_a_decoder_that_keeps_up_and_grows_with_one_that_does_not() -> None:
    audio, options = synthesise(FLUENT), config(chunk_duration=2.0)
    assert max(stream(audio, options).backlogs) == 0.0
    assert max(stream(audio, options, delay=80).backlogs) > 5.0


def _drain(plan: StreamPlan) -> list[str]:
    while (job := plan.next_job()) is not None:
        plan.receive_hypothesis(job, decode(job))
    return [event.segment.text for event in plan.events() if isinstance(event, Final)]


@pytest.mark.parametrize("n_said", [0, 1, 3])
@pytest.mark.parametrize("gap", [0.05, 0.3])
def test_a_decode_that_breaks_off_is_taken_up_where_it_did_without_context(
    n_said: int, gap: float
) -> None:
    """As Whisper does at times, and the more so the more context it is given."""

    def forgetful(job: DecodeJob) -> Hypothesis:
        if not job.previous_text:
            return decode(job)
        if not (found := read(job.audio)[:n_said]):
            return Hypothesis("en", 0.9)
        text = "".join(word for word, _, _ in found)
        return Hypothesis("en", 0.9, (Segment(0, found[0][1], found[-1][2], text),))

    script = [Spoken(0.4, 1.5), *[Spoken(0.4, gap)] * 8, Spoken(0.4, 1.5)]
    asked = config(partial_interval=0.0, chunk_duration=30.0)
    run = stream(synthesise(script), asked, decoder=forgetful)
    assert run.words == words_of(script)


def test_a_full_window_of_which_nothing_was_said_is_heard_again_without_its_prefix() -> None:
    """As it comes of a service that fell far behind."""

    def mute(job: DecodeJob) -> Hypothesis:
        is_long = bool(job.prefix) and len(job.audio) > 20 * SAMPLE_RATE
        return Hypothesis("en", 0.9) if is_long else decode(job)

    script = FLUENT + FLUENT[:30]
    run = stream(synthesise(script), config(partial_interval=0.0), decoder=mute, delay=250)
    assert run.words == words_of(script)


def test_noise_that_stays_wordless_is_asked_for_once_more_and_then_left() -> None:
    def deaf(job: DecodeJob) -> Hypothesis:
        return Hypothesis("en", 0.9) if job.previous_text else decode(job)

    script = [Spoken(0.4, 1.5)]
    noise = np.full(3 * SAMPLE_RATE, 0.2, np.float32)
    audio = np.concatenate((synthesise(script), noise, silence(1.5)))
    run = stream(audio, config(partial_interval=0.0, chunk_duration=30.0), decoder=deaf)
    assert run.words == ["w0"]
    assert len(run.jobs) == 3


def test_partials_leave_a_slow_decoder_half_of_its_time() -> None:
    audio = synthesise(FLUENT)
    quick = stream(audio, config(partial_interval=0.5, chunk_duration=30.0))
    slow = stream(audio, config(partial_interval=0.5, chunk_duration=30.0), delay=10)
    ends = [partial.end for partial in slow.partials]
    assert len(slow.partials) < len(quick.partials)
    # A decode takes 1 s, ten frames: it rests as long.
    assert min(later - sooner for sooner, later in itertools.pairwise(ends)) >= 1.9
    assert slow.words == quick.words == words_of(FLUENT)


def test_what_becomes_final_is_decoded_before_partials() -> None:
    run = stream(synthesise(SENTENCE), config(partial_interval=0.5))
    assert {job.priority for job in run.jobs[:-1]} == {"live"}
    assert run.jobs[-1].priority == "final"


def test_only_what_may_become_final_is_decoded_again_at_other_temperatures() -> None:
    run = stream(synthesise(SENTENCE), config(partial_interval=0.5))
    temperatures = {job.priority: job.options.temperatures for job in run.jobs}
    assert temperatures["live"] == (0.0,)
    assert temperatures["final"] == DecodeOptions().temperatures


def test_a_partial_in_flight_is_superseded_by_the_pause_that_may_be_the_end() -> None:
    run = stream(synthesise(SENTENCE), config(partial_interval=1.5), delay=16)
    assert [job.priority for job in run.jobs] == ["live", "final"]
    assert run.n_superseded == 1
    assert run.words == words_of(SENTENCE)


def test_only_partials_are_superseded() -> None:
    run = stream(synthesise(FLUENT), config(partial_interval=0.0, chunk_duration=2.0), delay=40)
    assert run.n_superseded == 0
    assert run.words == words_of(FLUENT)
