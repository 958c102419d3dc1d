"""What holds for every stream, searched by hypothesis over scripts, settings and cuttings."""

import itertools
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.policy.world import Run, Spoken, config, stream, synthesise, words_of
from whisper_service.policy.stream_events import Done, Final, Partial, SpeechEnded, SpeechStarted

few = settings(
    max_examples=15,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

spoken = st.builds(
    Spoken,
    st.floats(0.15, 0.7),
    st.one_of(st.sampled_from([0.0, 0.03, 0.1]), st.floats(0.0, 1.2)),
)
fluent = st.builds(Spoken, st.floats(0.15, 0.7), st.sampled_from([0.0, 0.03, 0.06, 0.1]))
scripts = st.lists(spoken, min_size=1, max_size=20)
fluent_scripts = st.lists(fluent, min_size=8, max_size=24)
configs = st.fixed_dictionaries(
    {
        "chunk_duration": st.sampled_from([1.0, 2.0, 5.0, 10.0]),
        "overlap": st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        "vad": st.booleans(),
        "partial_interval": st.sampled_from([0.0, 0.3, 1.0]),
        "endpoint_silence": st.sampled_from([0.1, 0.5, 1.0]),
        "word_times": st.booleans(),
    }
)
cuttings = st.lists(st.integers(1, 8_000), min_size=1, max_size=6).filter(lambda c: sum(c) > 500)


def confirmed(run: Run) -> list[str]:
    """Return what a client may rely on after each event: the finals and the stable part."""
    finals, seen = "", []
    for event in run.events:
        if isinstance(event, Final):
            finals = f"{finals} {event.segment.text}".strip()
            seen.append(finals)
        elif isinstance(event, Partial):
            seen.append(f"{finals} {event.stable}".strip())
    return seen


@few
@given(scripts, configs, cuttings)
def test_every_word_is_final_once_and_in_order(
    script: list[Spoken], changes: dict[str, Any], cuts: list[int]
) -> None:
    run = stream(synthesise(script), config(**changes), cuts=cuts)
    assert run.words == words_of(script)
    assert run.is_done()


@few
@given(fluent_scripts, configs, st.sampled_from([0, 3]))
def test_no_word_is_lost_or_doubled_without_any_pause(
    script: list[Spoken], changes: dict[str, Any], lag: int
) -> None:
    run = stream(synthesise(script), config(**changes), lag=lag)
    assert run.words == words_of(script)


@few
@given(scripts, configs)
def test_word_times_may_be_off_by_a_twentieth_of_a_second(
    script: list[Spoken], changes: dict[str, Any]
) -> None:
    apart = [Spoken(word.duration, max(0.03, word.gap)) for word in script]
    run = stream(synthesise(apart), config(**changes), jitter=0.05)
    assert run.words == words_of(apart)


@few
@example(  # frames that come in more slowly than partials do must not look like a slow decoder
    [Spoken(seconds, 0.0) for seconds in (0.5, 0.375, 0.5, 0.25, 0.5)],
    {"chunk_duration": 1.0, "overlap": 0.0, "vad": False, "partial_interval": 0.3},
    [4645],
)
@given(scripts, configs, cuttings)
def test_finals_do_not_depend_on_how_the_audio_was_cut(
    script: list[Spoken], changes: dict[str, Any], cuts: list[int]
) -> None:
    audio, options = synthesise(script), config(**changes)
    segments = [final.segment for final in stream(audio, options, cuts=cuts).finals]
    assert segments == [final.segment for final in stream(audio, options, cuts=[160]).finals]


@few
@given(scripts, configs, st.integers(1, 30), st.sampled_from([0, 2, 5]))
def test_a_slow_or_failing_decoder_loses_nothing(
    script: list[Spoken], changes: dict[str, Any], delay: int, abandon_each: int
) -> None:
    run = stream(synthesise(script), config(**changes), delay=delay, abandon_each=abandon_each)
    assert run.words == words_of(script)
    assert run.is_done()


@few
@given(scripts, configs, st.integers(0, 10))
def test_finals_never_overlap_or_reorder(
    script: list[Spoken], changes: dict[str, Any], delay: int
) -> None:
    run = stream(synthesise(script), config(**changes), delay=delay)
    segments = [final.segment for final in run.finals]
    assert [segment.id for segment in segments] == list(range(len(segments)))
    times = [t for segment in segments for t in (segment.start, segment.end)]
    assert times == sorted(times)
    assert all(final.segment.end <= final.state.offset / 16_000 for final in run.finals)


@few
@given(scripts, configs, st.integers(0, 10))
def test_what_was_told_as_stable_or_final_only_grows(
    script: list[Spoken], changes: dict[str, Any], delay: int
) -> None:
    run = stream(synthesise(script), config(**changes), delay=delay)
    seen = confirmed(run)
    assert all(after.startswith(before) for before, after in itertools.pairwise(seen))


@few
@given(scripts, configs, st.data())
def test_a_resumed_stream_tells_the_rest(
    script: list[Spoken], changes: dict[str, Any], data: st.DataObject
) -> None:
    audio, options = synthesise(script), config(**changes)
    run = stream(audio, options)
    broken_at = data.draw(st.integers(0, len(run.finals) - 1))
    state = run.finals[broken_at].state
    rest = stream(audio[state.offset :], options, resume=state)
    told = [final.segment.text for final in run.finals[: broken_at + 1] + rest.finals]
    assert " ".join(told).split() == words_of(script)
    assert rest.finals == [] or rest.finals[0].segment.id == broken_at + 1


@few
@given(scripts, configs)
def test_speech_events_enclose_the_finals(script: list[Spoken], changes: dict[str, Any]) -> None:
    run = stream(synthesise(script), config(**changes | {"vad": True}), lag=2)
    is_speech = False
    for event in run.events:
        if isinstance(event, SpeechStarted | SpeechEnded):
            assert is_speech is isinstance(event, SpeechEnded)
            is_speech = not is_speech
        else:
            assert is_speech is not isinstance(event, Done)
    assert not is_speech
