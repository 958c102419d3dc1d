"""What a stream's next decode hears: the sentence at hand, with what of it is final already.

A decode of a few seconds alone ends in a full stop and begins with a capital, whatever was said. So
the audio of final words stays in the window, and their text is the decode's prefix, as in
whisper_streaming (arXiv:2307.14743) and SimulStreaming (arXiv:2506.17077): the decode goes on in
mid-sentence. Owns where the window begins and which final words are in it. Positions are samples.
"""

from collections.abc import Sequence
from dataclasses import replace

from whisper_service.audio.buffer import AudioBuffer
from whisper_service.policy.agreement import Heard, join
from whisper_service.policy.border import border_after
from whisper_service.policy.memory import last_words
from whisper_service.policy.punctuation import ends_sentence
from whisper_service.types import SAMPLE_RATE, WINDOW_SAMPLES

_LONG = 16 * SAMPLE_RATE
"""A longer window loses its first sentences: what Whisper hears at once is 30 s."""
_KEPT = 6 * SAMPLE_RATE
"""About as much final audio stays then: a sentence or two."""
_ROOM = 2 * SAMPLE_RATE
"""Beside a chunk: what may come in before its final is made."""


class SentenceWindow:
    """`commit` words as they become final, `trim` before each decode, `restart` after a pause."""

    def __init__(self, begin: int, context: str, *, chunk: int, overlap: int) -> None:
        self.begin = begin
        self.context = context
        """Text before the window."""
        self._words: list[Heard] = []
        self._kept = max(overlap, min(_KEPT, WINDOW_SAMPLES - chunk - _ROOM))
        self._long = min(_LONG, self._kept + chunk + _ROOM)

    @property
    def prefix(self) -> str:
        """The final text of what is heard again."""
        return join(self._words)

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it is final yet."""
        return not self._words

    @property
    def end(self) -> int:
        """The furthest that one decode can hear."""
        return self.begin + WINDOW_SAMPLES

    def commit(self, words: Sequence[Heard]) -> None:
        """Take words that are final now; they follow those it has."""
        self._words += words

    def punctuate(self, mark: str) -> None:
        """Add a mark to the last word it has."""
        if self._words:
            self._words[-1] = replace(self._words[-1], text=self._words[-1].text + mark)

    def restart(self, begin: int, context: str) -> None:
        """Begin anew, without words."""
        self.begin, self.context, self._words = begin, context, []

    def trim(self, reach: int, border: int, buffer: AudioBuffer) -> None:
        """Leave the first sentences behind where audio up to `reach` makes the window long.

        `border` is where final audio ends.
        """
        if not self._words:
            self.begin = max(self.begin, border)  # sound that holds no words
        if reach - self.begin <= self._long or not self._words:
            return
        n_left = self._count_left_behind(border - self._kept, is_full=reach >= self.end - _ROOM)
        if not n_left:
            return
        left, self._words = self._words[:n_left], self._words[n_left:]
        self.context = last_words(self.context + join(left))
        around = [left[-1], *self._words[:1]]
        self.begin = border_after(around, 1, buffer, begin=self.begin, end=border)

    def _count_left_behind(self, position: int, *, is_full: bool) -> int:
        """How many words go: whole sentences up to about `position`, or what must."""
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
