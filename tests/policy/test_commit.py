"""Which words of a hypothesis become final."""

from typing import Any

import pytest

from tests.policy.world import Spoken, decode, synthesise
from whisper_service.audio.buffer import AudioBuffer
from whisper_service.policy.commit import Commit, NewWords, count_committable, decide
from whisper_service.policy.planned_window import PlannedWindow, Purpose
from whisper_service.policy.timed_words import TimedWord
from whisper_service.types import SAMPLE_RATE, Audio, DecodeJob, DecodeOptions, Hypothesis, Segment

SPOKEN = synthesise([Spoken(0.4, 0.1)] * 6, lead=0.0)
"""Six words: w0 to w5, each half a second after the one before."""


def planned(purpose: Purpose, audio: Audio = SPOKEN, **job: Any) -> PlannedWindow:
    options = DecodeOptions(timestamps="word")
    return PlannedWindow(purpose, 0, 0, len(audio), len(audio), DecodeJob(audio, options, **job))


def decided(
    purpose: Purpose,
    words: list[TimedWord] | None = None,
    *,
    audio: Audio = SPOKEN,
    previous_text: str = "",
    n_stable: int = 0,
    **given: Any,
) -> Commit | None:
    window = planned(purpose, audio, previous_text=previous_text)
    if words is None:
        words = window.new_words(decode(window.job))
    buffer = AudioBuffer()
    buffer.append(audio)
    known = {"is_full": False, "n_truncated": 0, "has_detector": True, "holds_mark": False} | given
    return decide(NewWords(window, words, n_stable), buffer, **known)


def text(words: Any) -> str:
    return "".join(word.text for word in words)


def timed(text: str, end: float = 0.5) -> list[TimedWord]:
    return [TimedWord(text, 0, round(end * SAMPLE_RATE))]


def test_the_last_word_of_a_chunk_waits_for_what_follows() -> None:
    commit = decided(Purpose.FORCED, audio=SPOKEN[: -SAMPLE_RATE // 10])
    assert commit is not None
    assert (text(commit.words), text(commit.rest)) == (" w0 w1 w2 w3 w4", " w5")
    assert 2.4 * SAMPLE_RATE <= commit.until <= 2.5 * SAMPLE_RATE


def test_stable_words_are_final_however_close_to_the_end() -> None:
    commit = decided(Purpose.FORCED, audio=SPOKEN[: -SAMPLE_RATE // 10], n_stable=6)
    assert commit is not None
    assert (text(commit.words), commit.rest) == (" w0 w1 w2 w3 w4 w5", [])


def test_a_single_word_waits_until_the_window_is_full() -> None:
    one = SPOKEN[: SAMPLE_RATE // 2]
    assert decided(Purpose.FORCED, audio=one) is None
    commit = decided(Purpose.FORCED, audio=one, is_full=True)
    assert commit is not None
    assert (text(commit.words), commit.until) == (" w0", len(one))


@pytest.mark.parametrize("purpose", [Purpose.PAUSE, Purpose.ENDPOINT])
def test_all_of_it_is_final_at_a_pause(purpose: Purpose) -> None:
    commit = decided(purpose)
    assert commit is not None
    assert (text(commit.words), commit.until) == (" w0 w1 w2 w3 w4 w5", len(SPOKEN))
    assert commit.ends_at == ("pause" if purpose is Purpose.PAUSE else "speech")


@pytest.mark.parametrize(
    ("said", "n_stable", "told", "mark"),
    [(" yes.", 0, " yes", "."), (" yes.", 1, " yes.", ""), (" ...", 0, "", "..."), ("", 0, "", "")],
)
def test_a_mark_that_was_not_told_yet_is_held(
    said: str, n_stable: int, told: str, mark: str
) -> None:
    words = timed(said) if said else []
    commit = decided(
        Purpose.PAUSE, words, audio=SPOKEN[: SAMPLE_RATE // 2], n_stable=n_stable, holds_mark=True
    )
    assert commit is not None
    assert (text(commit.words), commit.mark) == (told, mark)


def test_a_decode_that_ends_long_before_the_speech_is_final_as_far_as_it_goes() -> None:
    commit = decided(Purpose.ENDPOINT, timed(" w0"))
    assert commit is not None
    assert commit.is_truncated
    assert (text(commit.words), commit.mark) == (" w0", "")
    assert 0.4 * SAMPLE_RATE <= commit.until <= 0.5 * SAMPLE_RATE


def test_speech_of_which_nothing_was_heard_is_heard_again_without_context_alone() -> None:
    again = decided(Purpose.ENDPOINT, [], previous_text="Before.")
    assert again == Commit([], 0, "words", is_truncated=True)
    assert decided(Purpose.ENDPOINT, []) == Commit([], len(SPOKEN), "speech")


def test_a_decoder_that_keeps_breaking_off_is_believed_in_the_end() -> None:
    commit = decided(Purpose.ENDPOINT, timed(" w0"), n_truncated=4)
    assert commit == Commit(timed(" w0"), len(SPOKEN), "speech")


@pytest.mark.parametrize(("pause", "rest"), [(0.3, ""), (0.1, " w2")])
def test_without_a_detector_a_pause_at_its_end_makes_all_final(pause: float, rest: str) -> None:
    audio = synthesise([*[Spoken(0.4, 0.1)] * 2, Spoken(0.4, pause)], lead=0.0)
    commit = decided(Purpose.FORCED, audio=audio, has_detector=False)
    assert commit is not None
    assert (text(commit.rest), commit.ends_at) == (rest, "words" if rest else "pause")


@pytest.mark.parametrize(("prefix", "told"), [(" So.", " w0"), (" So", ", w0")])
def test_a_mark_the_prefix_has_is_not_told_again(prefix: str, told: str) -> None:
    segment = Segment(0, 0.0, 0.4, ", w0")
    answer = Hypothesis("en", 0.9, (segment,))
    words = planned(Purpose.PARTIAL, prefix=prefix).new_words(answer)
    assert text(words) == told


@pytest.mark.parametrize(("end", "n_committable"), [(1.45, 2), (1.1, 1), (0.6, 0), (9.0, 2)])
def test_words_at_the_end_of_the_audio_are_not_final(end: float, n_committable: int) -> None:
    words = [
        TimedWord(f" {word}", round(begin * SAMPLE_RATE), round((begin + 0.4) * SAMPLE_RATE))
        for word, begin in (("one", 0.0), ("two", 0.5), ("three", 1.0))
    ]
    assert count_committable(words, round(end * SAMPLE_RATE)) == n_committable
