"""What the answers to a stream's windows become: partials, finals, and a border between them.

Owns agreement and commitment: which words are told, which of them are final, and where the next
window begins. Which window that is, is `Agenda`'s.
"""

from whisper_service.policy import energy
from whisper_service.policy.agreement import Agreement, Heard
from whisper_service.policy.border import border_range, count_final, drop_final, place_border
from whisper_service.policy.hearing import heard_words
from whisper_service.policy.listener import Listener
from whisper_service.policy.progress import Progress
from whisper_service.policy.task import Kind, Task, can_cut_words
from whisper_service.policy.teller import Teller
from whisper_service.types import SAMPLE_RATE, WINDOW_SAMPLES, Hypothesis, StreamConfig

_LEAST = SAMPLE_RATE // 5
"""200 ms, a short word: times that say less of a whole word or two are wrong, and a border there
would have them heard again."""
_UNCOVERED = SAMPLE_RATE
"""1 s of speech after a decode's last word holds a word or two; less is breath and reverb."""
_MAX_TRIES = 4
"""Decodes of a stretch that may break off, one after the other."""
_UNHEARD = SAMPLE_RATE
"""1 s at the end of audio without words is heard again: a word may have begun there."""


class Reader:
    """`use` each answer once; `leave` a stretch when it is at its end."""

    def __init__(
        self, config: StreamConfig, listener: Listener, progress: Progress, teller: Teller
    ) -> None:
        self._overlap = round(config.overlap * SAMPLE_RATE)
        self._can_cut_words = can_cut_words(config.decode)
        self._listener = listener
        self._at = progress
        self._teller = teller
        self._agreement = Agreement()

    def leave(self, end: int) -> None:
        """The stretch ends at `end`, and nothing of it will be decoded any more."""
        left, border = self._agreement.stable, self._at.border
        self._teller.tell_final(left, None, start=border, end=max(border, end))
        self._agreement.clear()

    def use(self, task: Task, hypothesis: Hypothesis) -> None:
        """Tell what the answer to a task says, and move on as far as it is final."""
        words = heard_words(hypothesis, task.begin, task.end)
        if task.begin < task.border:
            words = drop_final(words, task.border, self._at.last_final, begin=task.begin)
        if task.kind in (Kind.PARTIAL, Kind.SPECULATIVE):
            self._use_partial(task, hypothesis, words)
        elif task.kind is Kind.WORDS:
            self._use_words(task, hypothesis, words)
        elif not self._take_up(task, hypothesis, words):
            self._use_whole(task, hypothesis, words)

    def _use_partial(self, task: Task, hypothesis: Hypothesis, words: list[Heard]) -> None:
        # What came in meanwhile is the time it took. Resting as long leaves the engine half of its
        # time for finals, however many streams ask.
        self._at.rest = 2 * (self._listener.received - task.asked_at)
        is_complete = task.kind is Kind.SPECULATIVE
        if is_complete:
            self._at.speculative = (task, hypothesis)
        rest = self._agreement.hear(words, is_complete=is_complete)
        self._tell_partial(rest, task.end)

    def _use_words(self, task: Task, hypothesis: Hypothesis, words: list[Heard]) -> None:
        """Make final what cannot change; if that is nothing, wait for more unless 30 s are full."""
        if not words and self._breaks_off(task, words):
            self._at.n_tries += 1
            return
        self._agreement.hear(words, is_complete=False)
        merged = self._agreement.merge(words)
        n_final = self._count_final(merged, task, hypothesis)
        must_cut = task.end - task.begin >= WINDOW_SAMPLES
        border = self._place_border(merged, n_final, task.end)
        if border < task.border + _LEAST and must_cut:
            n_final, border = len(merged), task.end
        if border < task.border + _LEAST:
            self._at.attempted = task.end
            self._tell_partial(merged[len(self._agreement.stable) :], task.end)
            return
        final, rest = merged[:n_final], merged[n_final:]
        self._teller.tell_final(final, hypothesis, start=task.border, end=border)
        self._at.move_border(border, lead=self._overlap if self._can_cut_words and final else 0)
        self._at.last_final = final[-1] if final else None
        self._agreement.clear()
        self._tell_partial(self._agreement.hear(rest, is_complete=False), task.end)

    def _count_final(self, merged: list[Heard], task: Task, hypothesis: Hypothesis) -> int:
        if self._can_cut_words:
            return max(count_final(merged, task.end), len(self._agreement.stable))
        # without word times: all segments but the last one are whole
        complete = hypothesis.segments[:-1]
        end = task.begin + round(complete[-1].end * SAMPLE_RATE) if complete else task.begin
        n_final = sum(word.end <= end for word in merged)
        return n_final if n_final >= len(self._agreement.stable) else 0

    def _place_border(self, words: list[Heard], n_final: int, end: int) -> int:
        if not words:
            low, high, near = end - _UNHEARD, end, end - _UNHEARD // 2
        elif n_final:
            low, high = border_range(words, n_final, end)
            near = words[n_final - 1].end
        else:
            return self._at.border
        low = max(low, self._at.border)
        if high <= low:
            return self._at.border
        near = min(max(near, low), high)
        return place_border(self._listener.buffer.slice(low, high), low, near)

    def _use_whole(self, task: Task, hypothesis: Hypothesis, words: list[Heard]) -> None:
        """Make all of it final."""
        is_last = task.kind is Kind.LAST
        final = self._agreement.merge(words) if is_last else self._agreement.commit(words)
        self._teller.tell_final(final, hypothesis, start=task.border, end=task.end)
        self._at.move_border(task.end, lead=0)
        if is_last:
            self._agreement.clear()

    def _take_up(self, task: Task, hypothesis: Hypothesis, words: list[Heard]) -> bool:
        """If the decode ended long before the speech did, make final what it has and go on from
        there, without context; return whether it did."""
        merged = self._agreement.merge(words)
        if not self._breaks_off(task, merged):
            return False
        n_tries, border = self._at.n_tries + 1, task.border
        if merged:
            border = self._place_border(merged, len(merged), task.end)
            if border < task.border + _LEAST:
                return False
            self._teller.tell_final(merged, hypothesis, start=task.border, end=border)
            self._agreement.clear()
        self._at.move_border(border, lead=0)
        self._at.n_tries = n_tries
        return True

    def _breaks_off(self, task: Task, words: list[Heard]) -> bool:
        """Tell a decode after whose words there is more speech, if it is worth another."""
        if self._at.n_tries >= _MAX_TRIES:
            return False
        if not words and not task.job.previous_text:
            return False  # no word is there
        heard = words[-1].end if words else task.border
        loud = energy.speech_like(task.job.audio)[max(0, heard - task.begin) // energy.HOP :]
        return int(loud.sum()) * energy.HOP > _UNCOVERED

    def _tell_partial(self, rest: list[Heard], end: int) -> None:
        self._at.last_partial = end
        self._teller.tell_partial(self._agreement.stable, rest, start=self._at.border, end=end)
