"""What happens in a stream, as the items of a Realtime transcription session. Pure.

An item is one turn of speech: it is announced when it is committed, deltas carry text that is
final, `completed` has all of it. Each call returns events to send, in order.
"""

import secrets
from typing import Any

from whisper_service.api.fronts.openai.answers import Deltas, duration_usage
from whisper_service.api.fronts.openai.errors import error_answer
from whisper_service.errors import ServiceError
from whisper_service.policy.stream_events import Done, Event, Final, SpeechEnded, SpeechStarted

ServerEvent = dict[str, Any]

_TRANSCRIPTION = "conversation.item.input_audio_transcription"


class Chain:
    """The items of a session, each of which names the one before it."""

    def __init__(self, *, is_flat: bool) -> None:
        self.is_flat = is_flat
        """Speak the older names of events."""
        self._last: str | None = None

    def commit(self, item_id: str) -> list[ServerEvent]:
        """Announce an item."""
        links = {"item_id": item_id, "previous_item_id": self._last}
        item = {
            "item": _item(item_id),
            "previous_item_id": self._last,
        }
        self._last = item_id
        names = ("created",) if self.is_flat else ("added", "done")
        return [
            server_event("input_audio_buffer.committed", **links),
            *(server_event(f"conversation.item.{name}", **item) for name in names),
        ]


class Turn:
    """One item on its way to its transcript."""

    def __init__(self, chain: Chain, start: float) -> None:
        self.start = start
        self._chain = chain
        self._id = f"item_{secrets.token_hex(10)}"
        self._deltas = Deltas()
        self._text = ""
        self._n_told = 0
        self._is_committed = False

    def speech_started(self, at: float, padding_ms: int) -> ServerEvent:
        """The detector heard it begin; clients count the padding as part of it."""
        begin = max(0, round(at * 1000) - padding_ms)
        name = "input_audio_buffer.speech_started"
        return server_event(name, item_id=self._id, audio_start_ms=begin)

    def speech_stopped(self, at: float) -> ServerEvent:
        """The detector heard it end."""
        name = "input_audio_buffer.speech_stopped"
        return server_event(name, item_id=self._id, audio_end_ms=round(at * 1000))

    def add(self, final: Final) -> list[ServerEvent]:
        """Add final text; it is sent at once if the item was announced, else when it is."""
        self._text += self._deltas.next([final.segment])
        return self._delta()

    def commit(self) -> list[ServerEvent]:
        """Announce the item, once."""
        if self._is_committed:
            return []
        self._is_committed = True
        return [*self._chain.commit(self._id), *self._delta()]

    def complete(self, end: float) -> list[ServerEvent]:
        """Everything is final."""
        usage = duration_usage(max(0.0, end - self.start))
        completed = self._event("completed", transcript=self._text, usage=usage)
        return [*self.commit(), completed]

    def fail(self, error: ServiceError) -> list[ServerEvent]:
        """There will be no more text."""
        body = error_answer(error).body
        return [*self.commit(), self._event("failed", error=body["error"])]

    def _delta(self) -> list[ServerEvent]:
        delta = self._text[self._n_told :]
        if not delta or not self._is_committed:
            return []
        self._n_told = len(self._text)
        return [self._event("delta", delta=delta)]

    def _event(self, name: str, **fields: Any) -> ServerEvent:
        return server_event(f"{_TRANSCRIPTION}.{name}", item_id=self._id, content_index=0, **fields)


class DetectedTurns:
    """Turns between pauses. A commit ends the one that is under way, or makes an empty one."""

    def __init__(self, chain: Chain, padding_ms: int) -> None:
        self._chain = chain
        self._padding_ms = padding_ms
        self._turn: Turn | None = None
        self._committed_at: float | None = None
        """When a commit waits for an item to come of it."""

    def commit(self, at: float) -> list[ServerEvent]:
        """The client ended what it is saying; the plan has been told to stop."""
        self._committed_at = at
        return []

    def events(self, event: Event) -> list[ServerEvent]:
        """The server events for an event of the plan."""
        match event:
            case SpeechStarted(at):
                self._turn = Turn(self._chain, at)
                return [self._turn.speech_started(at, self._padding_ms)]
            case Final() if self._turn is not None:
                return self._turn.add(event)
            case SpeechEnded(at) if self._turn is not None:
                turn, self._turn = self._turn, None
                self._committed_at = None
                return [turn.speech_stopped(at), *turn.commit(), *turn.complete(at)]
            case Done() if self._committed_at is not None:
                return Turn(self._chain, self._committed_at).complete(self._committed_at)
        return []

    def fail(self, error: ServiceError) -> list[ServerEvent]:
        """The plan cannot go on."""
        turn = self._turn
        if turn is None and self._committed_at is not None:
            turn = Turn(self._chain, self._committed_at)
        return turn.fail(error) if turn is not None else [error_event(error)]


class CommittedTurn:
    """The one turn of a plan whose end the client says."""

    def __init__(self, chain: Chain, start: float) -> None:
        self._turn = Turn(chain, start)
        self._is_committed = False

    def commit(self, at: float) -> list[ServerEvent]:
        """The client ended it; the plan has been told to stop."""
        self._is_committed = True
        return self._turn.commit()

    def events(self, event: Event) -> list[ServerEvent]:
        """The server events for an event of the plan."""
        match event:
            case Final():
                return self._turn.add(event)
            case Done() if self._is_committed:
                return self._turn.complete(event.duration)
        return []

    def fail(self, error: ServiceError) -> list[ServerEvent]:
        """The plan cannot go on."""
        return self._turn.fail(error) if self._is_committed else [error_event(error)]


def server_event(type: str, **fields: Any) -> ServerEvent:
    """An event with an id of its own."""
    return {"type": type, "event_id": f"event_{secrets.token_hex(10)}", **fields}


def error_event(error: ServiceError, cause: str | None = None) -> ServerEvent:
    """An error that belongs to no item; `cause` is the id of the client's event."""
    body = error_answer(error).body
    return server_event("error", error=body["error"] | {"event_id": cause})


def _item(item_id: str) -> dict[str, Any]:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": None}],
    }
