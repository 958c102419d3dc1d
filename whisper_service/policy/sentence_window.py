"""The audio of a stream's next window: the current sentence, with its committed words.

A few seconds decoded alone begin with a capital and end in a full stop, whatever was said. So the
audio of committed words stays in the window and their text is the decode's prefix, as in
whisper_streaming (arXiv:2307.14743) and SimulStreaming (arXiv:2506.17077): the decode goes on in
mid-sentence. Owns where the window begins and which committed words it holds. Positions are
samples.
"""

from collections.abc import Sequence
from dataclasses import replace

from whisper_service.audio.buffer import AudioBuffer
from whisper_service.policy.boundary import boundary_between
from whisper_service.policy.context import last_words
from whisper_service.policy.text import ends_sentence
from whisper_service.policy.timed_words import TimedWord, join
from whisper_service.types import SAMPLE_RATE, WINDOW_SAMPLES

_LONG = 16 * SAMPLE_RATE
"""16 s: a longer window loses its first sentences, since one decode takes at most 30 s."""
_KEPT = 6 * SAMPLE_RATE
"""6 s: about as much committed audio stays then, a sentence or two."""
_ROOM = 2 * SAMPLE_RATE
"""2 s: audio beside a chunk that may come in before the chunk is final."""


class SentenceWindow:
    """`commit` words as they become final, `trim` before each decode, `restart` after a pause.

    `chunk`: the most audio after the committed words; `overlap`: the least audio of them to keep.
    """

    def __init__(self, begin: int, context: str, *, chunk: int, overlap: int) -> None:
        self.begin = begin
        self.context = context
        """Text before the window."""
        self._words: list[TimedWord] = []
        self._kept = max(overlap, min(_KEPT, WINDOW_SAMPLES - chunk - _ROOM))
        self._long = min(_LONG, self._kept + chunk + _ROOM)

    @property
    def prefix(self) -> str:
        """The text of the committed words in the window."""
        return join(self._words)

    @property
    def is_empty(self) -> bool:
        """Whether it holds no committed word."""
        return not self._words

    @property
    def end(self) -> int:
        """The position after the last sample that fits into one decode."""
        return self.begin + WINDOW_SAMPLES

    def commit(self, words: Sequence[TimedWord]) -> None:
        """Add words that became final."""
        self._words += words

    def punctuate(self, mark: str) -> None:
        """Add punctuation to the last word, if there is one."""
        if self._words:
            self._words[-1] = replace(self._words[-1], text=self._words[-1].text + mark)

    def restart(self, begin: int, context: str) -> None:
        """Begin anew at `begin`, without words."""
        self.begin, self.context, self._words = begin, context, []

    def trim(self, reach: int, committed: int, buffer: AudioBuffer) -> None:
        """Drop the first sentences if audio up to `reach` makes the window long.

        `committed`: the end of committed audio. Dropped words become context.
        """
        if not self._words:
            self.begin = max(self.begin, committed)  # sound without words
        if reach - self.begin <= self._long or not self._words:
            return
        is_full = reach >= self.end - _ROOM
        n_dropped = self._count_dropped(committed - self._kept, is_full=is_full)
        if not n_dropped:
            return
        dropped, self._words = self._words[:n_dropped], self._words[n_dropped:]
        self.context = last_words(self.context + join(dropped))
        following = self._words[0] if self._words else None
        self.begin = boundary_between(
            dropped[-1], following, buffer, begin=self.begin, end=committed
        )

    def _count_dropped(self, position: int, *, is_full: bool) -> int:
        """Return how many words go: whole sentences up to about `position`, or as many as must."""
        inner = range(1, len(self._words))
        ends = [n for n in inner if ends_sentence(self._words[n - 1].text)]
        early = [n for n in ends if self._words[n - 1].end < position]
        late = ends[len(early) :]
        if early and (not late or not is_full):
            return early[-1]
        if late:
            return late[0]
        if not is_full:
            return 0
        rest = [n for n in inner if self._words[n - 1].end >= position]
        return max(rest, key=self._gap_after, default=len(self._words))

    def _gap_after(self, n_words: int) -> int:
        return self._words[n_words].start - self._words[n_words - 1].end
