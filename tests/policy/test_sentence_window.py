"""Which final words a stream's next decode hears again, and where its window begins."""

import numpy as np
import pytest

from whisper_service.audio.buffer import AudioBuffer
from whisper_service.policy.sentence_window import SentenceWindow
from whisper_service.policy.timed_words import TimedWord
from whisper_service.types import SAMPLE_RATE

SECOND = SAMPLE_RATE


def words(text: str) -> list[TimedWord]:
    """One word a second, 0.8 s long, from second 0."""
    return [
        TimedWord(f" {word}", i * SECOND, i * SECOND + 4 * SECOND // 5)
        for i, word in enumerate(text.split())
    ]


def window_of(text: str, *, chunk: int = 5, overlap: float = 0.5) -> SentenceWindow:
    window = SentenceWindow(0, "", chunk=chunk * SECOND, overlap=round(overlap * SECOND))
    window.commit(words(text))
    return window


def trimmed(window: SentenceWindow, reach: int, committed: int) -> SentenceWindow:
    buffer = AudioBuffer()
    buffer.append(np.zeros(reach * SECOND, np.float32))
    window.trim(reach * SECOND, committed * SECOND, buffer)
    return window


SENTENCES = "a b c d e f g. h i j k l m n o. p q r s"


def test_all_of_a_short_window_is_heard_again() -> None:
    window = trimmed(window_of(SENTENCES[:20]), 12, 10)
    assert (window.begin, window.prefix) == (0, " a b c d e f g. h i j")


def test_a_long_window_loses_whole_sentences_which_become_context() -> None:
    window = trimmed(window_of(SENTENCES), 24, 19)
    assert window.prefix == " h i j k l m n o. p q r s"
    assert window.context == "a b c d e f g."
    assert 6.4 * SECOND <= window.begin <= 7.4 * SECOND  # between "g." and "h"


def test_a_long_sentence_stays_whole_as_long_as_it_fits() -> None:
    text = " ".join("abcdefghijklmnopqrstuvwxyz")
    assert trimmed(window_of(text), 27, 26).begin == 0
    window = trimmed(window_of(text), 29, 26)
    assert 13 * SECOND < window.begin < 26 * SECOND
    assert window.prefix == "".join(word.text for word in words(text)[-len(window.prefix) // 2 :])


def test_words_that_are_left_behind_are_never_those_of_an_abbreviation_alone() -> None:
    """The last word stays, whatever it ends with: it may not be the sentence's end."""
    window = trimmed(window_of(f"{' '.join('abcdefghijklmnopqr')} Mr."), 24, 19)
    assert window.prefix.endswith("Mr.")


@pytest.mark.parametrize(("chunk", "overlap"), [(20, 0.5), (5, 5.0), (1, 0.0)])
def test_a_chunk_always_fits_beside_what_is_heard_again(chunk: int, overlap: float) -> None:
    window = window_of(SENTENCES, chunk=chunk, overlap=overlap)
    reach = 19 + chunk
    trimmed(window, reach, 19)
    assert reach * SECOND <= window.end


def test_sound_without_words_is_left_behind() -> None:
    window = SentenceWindow(0, "before", chunk=5 * SECOND, overlap=0)
    assert trimmed(window, 9, 7).begin == 7 * SECOND
    assert window.context == "before"


def test_after_a_restart_nothing_is_said_yet() -> None:
    window = window_of(SENTENCES)
    window.restart(30 * SECOND, "g.")
    assert (window.begin, window.prefix, window.context) == (30 * SECOND, "", "g.")
    window.punctuate(".")  # of words that are gone
    assert window.prefix == ""
