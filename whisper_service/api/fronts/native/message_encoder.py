"""Turns what happens in a stream into its messages: numbers them, and adds resume tokens.

Pure: no socket, no clock of its own.
"""

import json

from whisper_service.api.fronts.native.messages import (
    DoneMessage,
    FinalMessage,
    PartialMessage,
    Ready,
    ServerMessage,
    SpeechEndedMessage,
    SpeechStartedMessage,
    WarningMessage,
)
from whisper_service.api.fronts.native.resume import ResumePoint, ResumeTokens
from whisper_service.api.schemas.transcripts import WordBody
from whisper_service.errors import ServiceError
from whisper_service.formats import segment_fields
from whisper_service.policy.stream_events import (
    Done,
    Event,
    Final,
    Partial,
    SpeechEnded,
    SpeechStarted,
    StreamState,
)
from whisper_service.types import SAMPLE_RATE

WARNING_INTERVAL = 5.0
"""Seconds between two warnings of one stream: often enough to show, too rare to load it more."""


class MessageEncoder:
    """Encodes one stream's messages. Each call returns the next one, as JSON."""

    def __init__(self, tokens: ResumeTokens, point: ResumePoint) -> None:
        """`point` is where the stream begins; its `seq` is that of the last message sent."""
        self._tokens = tokens
        self._point = point

    @property
    def resume_token(self) -> str:
        """The token of the last final, or of the beginning."""
        return self._tokens.sign(self._point)

    @property
    def offset(self) -> float:
        """Seconds up to which everything is final."""
        return self._point.state.offset / SAMPLE_RATE

    def ready(self) -> str:
        """The first message."""
        seq = self._next(self._point.state)
        return _json(
            Ready(
                seq=seq,
                session_id=self._point.session_id,
                config=self._point.config,
                offset=self.offset,
                resume=self.resume_token,
            )
        )

    def event(self, event: Event) -> str:
        """The message for an event of the plan."""
        if isinstance(event, Final):
            return self._final(event)
        seq = self._next()
        match event:
            case Partial():
                return _json(
                    PartialMessage(
                        seq=seq,
                        start=_rounded(event.start),
                        end=_rounded(event.end),
                        text=event.text,
                        stable=event.stable,
                        unstable=event.unstable,
                    )
                )
            case SpeechStarted():
                return _json(SpeechStartedMessage(seq=seq, at=_rounded(event.at)))
            case SpeechEnded():
                return _json(SpeechEndedMessage(seq=seq, at=_rounded(event.at)))
            case Done():
                return _json(
                    DoneMessage(seq=seq, duration=_rounded(event.duration), text=event.text)
                )

    def warning(self, lag: float) -> str:
        """The stream falls behind."""
        message = f"The service is {lag:.1f} s behind; nothing is lost, text comes later."
        return _json(
            WarningMessage(
                seq=self._next(), code="falling_behind", lag=_rounded(lag), message=message
            )
        )

    def error(self, error: ServiceError) -> str:
        """The last message before a close that was not asked for."""
        return error_message(error, self._next())

    def _final(self, final: Final) -> str:
        seq = self._next(final.state)
        fields = segment_fields(final.segment)
        return _json(
            FinalMessage(
                seq=seq,
                id=fields["id"],
                start=fields["start"],
                end=fields["end"],
                text=fields["text"],
                ends_at=final.ends_at,
                words=[WordBody(**word) for word in fields["words"]] if "words" in fields else None,
                language=final.language,
                avg_logprob=fields["avg_logprob"],
                no_speech_prob=fields["no_speech_prob"],
                resume=self.resume_token,
            )
        )

    def _next(self, state: StreamState | None = None) -> int:
        point = self._point
        self._point = ResumePoint(
            point.session_id, point.config, state or point.state, point.seq + 1
        )
        return self._point.seq


class LagWatch:
    """Decides when a stream is told that it falls behind. Pure: the time is given to it."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._next_at = 0.0

    def should_warn(self, lag: float, now: float) -> bool:
        """Whether to warn now; at most every `WARNING_INTERVAL`, and not once it caught up."""
        if lag <= self._threshold or now < self._next_at:
            return False
        self._next_at = now + WARNING_INTERVAL
        return True


def error_message(error: ServiceError, seq: int) -> str:
    """An error as the socket spells it: the fields of the one JSON shape, in a typed message."""
    fields = {"type": "error", "seq": seq, **error.as_dict()["error"]}
    if error.retry_after is not None:
        fields["retry_after"] = error.retry_after
    return json.dumps(fields)


def _json(message: ServerMessage) -> str:
    return message.model_dump_json(exclude_none=True)


def _rounded(seconds: float) -> float:
    return round(seconds, 3)
