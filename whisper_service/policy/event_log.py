"""The events of one stream, and all that outlives a final: its id, the language, context and text.

Owns how words become events. Which words are emitted, and when, is the plan's decision.
"""

from collections.abc import Sequence

from whisper_service.policy.context import next_context
from whisper_service.policy.language_vote import LanguageVote
from whisper_service.policy.stream_events import Done, Event, Final, FinalEnd, Partial, StreamState
from whisper_service.policy.timed_words import TimedWord, join, to_segment
from whisper_service.types import SAMPLE_RATE, Hypothesis


class EventLog:
    """Collects events until `drain` takes them. Positions are samples."""

    def __init__(self, state: StreamState, *, has_words: bool, has_partials: bool) -> None:
        """`has_words`: finals carry word times. `has_partials`: partials are emitted."""
        self.context = state.context
        self.language = LanguageVote(state.language, state.language_probability)
        self._has_words = has_words
        self._has_partials = has_partials
        self._next_id = state.next_id
        self._texts: list[str] = []
        self._events: list[Event] = []
        self._last = Hypothesis(state.language or "en", 0.0)

    def drain(self) -> list[Event]:
        """Return the events emitted since the last call."""
        events, self._events = self._events, []
        return events

    def emit(self, event: Event) -> None:
        """Add an event that carries no text."""
        self._events.append(event)

    def emit_done(self, duration: float) -> None:
        """Add the end of the stream, with the text of all finals. `duration` in seconds."""
        self._events.append(Done(duration, "".join(self._texts).strip()))

    def emit_partial(
        self, stable: Sequence[TimedWord], rest: Sequence[TimedWord], *, start: int, end: int
    ) -> None:
        """Add a partial of the words in `[start, end)`; without words nothing is added."""
        words = [*stable, *rest]
        if not words or not self._has_partials:
            return
        begin = max(start, words[0].start)
        span = begin / SAMPLE_RATE, max(end, begin) / SAMPLE_RATE
        self._events.append(Partial(*span, join(stable), join(rest)))

    def emit_final(
        self,
        words: Sequence[TimedWord],
        hypothesis: Hypothesis | None,
        *,
        start: int,
        end: int,
        ends_at: FinalEnd,
        mark: str = "",
    ) -> None:
        """Add `words` of `[start, end)` as a final; without text nothing is added.

        `hypothesis`: the decode that the words are from; None for that of the final before.
        `mark`: punctuation that may follow the words.
        """
        self._last = hypothesis = hypothesis or self._last
        if not join(words).strip():
            return
        segment = to_segment(
            words,
            hypothesis,
            id=self._next_id,
            start=start,
            end=end,
            has_words=self._has_words,
        )
        self.language.add(hypothesis.language, hypothesis.language_probability, end - start)
        self._next_id += 1
        self._texts.append(segment.text)
        self.context = next_context(self.context, segment)
        known, probability = self.language.known, self.language.probability
        state = StreamState(end, self._next_id, known, probability, self.context, mark)
        if known is None:
            known, probability = hypothesis.language, hypothesis.language_probability
        self._events.append(Final(segment, known, probability, state, ends_at))
