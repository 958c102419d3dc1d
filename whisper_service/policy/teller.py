"""What a stream has told its client, and the wording of what it tells next.

Owns the events and all that outlives a final: its number, the language, the context, the text. When
something is told, and which words it is, is the plan's decision.
"""

from collections.abc import Sequence

from whisper_service.policy.agreement import Heard, join
from whisper_service.policy.events import Done, Event, Final, FinalEnd, Partial, StreamState
from whisper_service.policy.hearing import final_segment
from whisper_service.policy.memory import LanguageMemory, next_context
from whisper_service.types import SAMPLE_RATE, Hypothesis


class Teller:
    """Collects the events of one stream until they are drained."""

    def __init__(self, state: StreamState, *, has_words: bool, has_partials: bool) -> None:
        self.context = state.context
        self.language = LanguageMemory(state.language, state.language_probability)
        self._has_words = has_words
        self._has_partials = has_partials
        self._next_id = state.next_id
        self._texts: list[str] = []
        self._events: list[Event] = []
        self._last = Hypothesis(state.language or "en", 0.0)

    def drain(self) -> list[Event]:
        """Return what was told since the last call."""
        events, self._events = self._events, []
        return events

    def tell(self, event: Event) -> None:
        """Tell an event that carries no text."""
        self._events.append(event)

    def tell_done(self, duration: float) -> None:
        """Tell that all is final, with all of it."""
        self._events.append(Done(duration, "".join(self._texts).strip()))

    def tell_partial(
        self, stable: Sequence[Heard], rest: Sequence[Heard], *, start: int, end: int
    ) -> None:
        """Tell the words of `[start, end)` that are not final; without words there is nothing."""
        words = [*stable, *rest]
        if not words or not self._has_partials:
            return
        begin = max(start, words[0].start)
        span = begin / SAMPLE_RATE, max(end, begin) / SAMPLE_RATE
        self._events.append(Partial(*span, join(stable), join(rest)))

    def tell_final(
        self,
        words: Sequence[Heard],
        hypothesis: Hypothesis | None,
        *,
        start: int,
        end: int,
        ends_at: FinalEnd,
        mark: str = "",
    ) -> None:
        """Tell `words` of `[start, end)` as final; without words there is nothing to tell.

        `hypothesis`: the decode they are from; None where they are left from the one before.
        `mark`: what punctuation may follow them.
        """
        self._last = hypothesis = hypothesis or self._last
        if not join(words).strip():
            return
        segment = final_segment(
            words,
            hypothesis,
            id=self._next_id,
            start=start,
            end=end,
            has_words=self._has_words,
        )
        self.language.hear(hypothesis.language, hypothesis.language_probability, end - start)
        self._next_id += 1
        self._texts.append(segment.text)
        self.context = next_context(self.context, segment)
        known, probability = self.language.known, self.language.probability
        state = StreamState(end, self._next_id, known, probability, self.context, mark)
        if known is None:
            known, probability = hypothesis.language, hypothesis.language_probability
        self._events.append(Final(segment, known, probability, state, ends_at))
