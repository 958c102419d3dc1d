"""What the demo model is taught to write for a window."""

import pytest
from whisper.tokenizer import get_tokenizer

from tools.demo_model.espeak import SpokenWord
from tools.demo_model.script import N_FRAMES, Task, Window, segments, vocabulary, write_script
from tools.demo_model.words import Word, words_of

SECOND = 16_000


def spoken(*starts: float, language: str = "de") -> tuple[SpokenWord, ...]:
    """The language's first words, each 0.4 s long, from these seconds on."""
    pairs = zip(words_of(language), starts, strict=False)
    return tuple(SpokenWord(w, int(s * SECOND), int((s + 0.4) * SECOND)) for w, s in pairs)


def written(window: Window, task: Task) -> str:
    ids = vocabulary()
    tokens = write_script(window, task).tokens
    whispers = [
        ids.timestamp_begin + t - ids.n_text if t >= ids.n_text else ids.used[t] for t in tokens
    ]
    return str(get_tokenizer(multilingual=True).decode_with_timestamps(whispers))


def test_a_pause_or_two_words_end_a_segment() -> None:
    words = spoken(0.5, 1.0, 1.5, 2.5)
    assert [len(group) for group in segments(words)] == [2, 1, 1]


def test_segments_stand_between_their_timestamps() -> None:
    text = written(Window(spoken(0.5, 1.0, 2.5), "de", 4 * SECOND), Task())
    assert text.endswith("<|0.50|> null eins<|1.40|><|2.50|> zwei<|2.90|><|endoftext|>")


def test_translation_is_written_in_english() -> None:
    task = Task(translate=True, timestamps=False)
    text = written(Window(spoken(0.5, 1.0), "de", 4 * SECOND), task)
    assert text == (
        "<|startoftranscript|><|de|><|translate|><|notimestamps|> zero one<|endoftext|>"
    )


def test_a_blank_segment_leads_to_a_late_first_word() -> None:
    text = written(Window(spoken(3.0), "de", 4 * SECOND), Task())
    assert text.endswith("<|0.00|>\n<|3.00|><|3.00|> null<|3.40|><|endoftext|>")


def test_a_segment_that_the_window_cuts_is_only_begun() -> None:
    window = Window(spoken(0.5, 1.8), "de", 2 * SECOND, first_frame=N_FRAMES - 100)
    text = written(window, Task())
    assert text.endswith("<|28.50|> null<|28.90|><|29.80|><|endoftext|>")


def test_silence_is_no_speech() -> None:
    script = write_script(Window((), "en", 4 * SECOND), Task())
    assert script.after_sot == vocabulary().no_speech


def test_the_prompt_stands_before_the_transcript() -> None:
    text = written(Window(spoken(0.5), "de", SECOND), Task(prompt=(Word("ja", "de", "yes"),)))
    assert text.startswith("<|startofprev|> ja<|startoftranscript|>")


@pytest.mark.parametrize("language", ["en", "de", "es"])
def test_every_word_has_tokens(language: str) -> None:
    assert all(vocabulary().text(" " + word.text) for word in words_of(language))
