"""A window of a live stream to decode, and the purpose of its decode."""

from dataclasses import dataclass, replace
from enum import Enum, auto

from whisper_service.policy.text import ends_with_mark, without_leading_marks
from whisper_service.policy.timed_words import TimedWord, to_timed_words
from whisper_service.types import DecodeJob, DecodeOptions, Hypothesis


class Purpose(Enum):
    """What the hypothesis will be used for."""

    PARTIAL = auto()
    SPECULATIVE = auto()
    """A partial of the speech up to a pause, and the final if the pause becomes the end."""
    FORCED = auto()
    """A final of the words that can be committed while speech goes on."""
    PAUSE = auto()
    """A final of all speech up to a pause."""
    ENDPOINT = auto()
    """A final of all speech up to the end of the chunk."""


@dataclass(frozen=True, slots=True, eq=False)
class PlannedWindow:
    """The audio `[begin, end)` in samples, of which all before `committed` is final already."""

    purpose: Purpose
    begin: int
    committed: int
    end: int
    received: int
    """How many samples of the stream there were when the window was planned."""
    job: DecodeJob

    def new_words(self, hypothesis: Hypothesis) -> list[TimedWord]:
        """Return the words of the job's hypothesis, which follow the prefix.

        Punctuation at their beginning is dropped if the prefix ends with some.
        """
        words = to_timed_words(hypothesis, self.begin, self.end)
        if not words or not ends_with_mark(self.job.prefix):
            return words
        first = replace(words[0], text=without_leading_marks(words[0].text))
        return [first, *words[1:]] if first.text.strip() else words[1:]


def decode_options(
    purpose: Purpose, options: DecodeOptions, *, language: str | None, has_word_times: bool
) -> DecodeOptions:
    """Return the options for one window: only what its purpose needs.

    Word times cost another pass and a doubtful decode up to five more. A partial often ends in half
    a word and is in doubt then; the next partial replaces it.
    """
    options = replace(options, language=language)
    if purpose is Purpose.PARTIAL:
        return replace(options, temperatures=options.temperatures[:1], timestamps="none")
    return replace(options, timestamps="word" if has_word_times else "segment")
