"""One channel's events as Deepgram's messages. Pure: the audio is the only clock.

Shapes: deepgram-sdk's `listen.v1.types`.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whisper_service import __version__
from whisper_service.api.fronts.deepgram.query import ListenQuery
from whisper_service.policy.stream_events import (
    Done,
    Event,
    Final,
    Partial,
    SpeechEnded,
    SpeechStarted,
)
from whisper_service.types import Word

Message = dict[str, Any]

_PUNCTUATION = ".,!?;:…\"'()[]¿¡。，！？"
_MODELS = uuid.UUID("6f0d1f6a-2c3e-5b7a-9f43-1f0c6c1d2b7e")
"""A name space of our own for `model_uuid`; the same model has the same id on every replica."""


@dataclass(frozen=True, slots=True)
class Request:
    """What every message of a request repeats."""

    id: str
    model: str
    query: ListenQuery

    @property
    def metadata(self) -> Message:
        """The part of `Results` about the request."""
        model = str(uuid.uuid5(_MODELS, self.model))
        info = {"name": self.model, "version": __version__, "arch": "whisper"}
        return {"request_id": self.id, "model_info": info, "model_uuid": model}


class ChannelResults:
    """Makes messages of the events of a channel's plans."""

    def __init__(self, request: Request, index: int) -> None:
        self._request = request
        self._query = request.query
        self._index = [index, request.query.n_streams]
        self._held: Final | None = None
        """The last final, until it is known whether an endpoint follows it."""
        self._last_word_end: float | None = None
        self._is_silent = False
        """Speech ended, and no utterance end was sent since."""

    def messages(self, events: Sequence[Event], *, is_finalizing: bool) -> list[Message]:
        """The messages for events that came together; `is_finalizing`: the plan was ended by a
        Finalize, whose answer is its last result."""
        messages: list[Message] = []
        for event in events:
            match event:
                case SpeechStarted(at):
                    self._is_silent = False
                    messages += self._speech_started(at)
                case Partial() if self._query.interim_results:
                    messages += self._release()
                    messages.append(self._partial(event))
                case Final():
                    messages += self._release()
                    self._held = event
                case SpeechEnded(at):
                    self._is_silent = True
                    if self._query.endpointing is not None and not is_finalizing:
                        messages.append(self._last(at, speech_final=True))
                case Done() if is_finalizing:
                    messages.append(self._last(event.duration, from_finalize=True))
        return messages if is_finalizing else messages + self._release()

    def tick(self, received: float) -> list[Message]:
        """What so much audio without words means."""
        limit, end = self._query.utterance_end_ms, self._last_word_end
        if limit is None or end is None or not self._is_silent or received < end + limit / 1000:
            return []
        self._is_silent = False
        self._last_word_end = None
        return [{"type": "UtteranceEnd", "channel": self._index, "last_word_end": round(end, 3)}]

    def _release(self) -> list[Message]:
        held, self._held = self._held, None
        return [] if held is None else [self._final(held)]

    def _last(
        self, at: float, *, speech_final: bool = False, from_finalize: bool = False
    ) -> Message:
        """The held final with what is now known of it; without one, a result of no words."""
        held, self._held = self._held, None
        if held is None:
            last = self._results(at, at, "", (), None, is_final=True)
        else:
            last = self._final(held)
        return last | {"speech_final": speech_final, "from_finalize": from_finalize}

    def _speech_started(self, at: float) -> list[Message]:
        if not self._query.vad_events:
            return []
        return [{"type": "SpeechStarted", "channel": self._index, "timestamp": round(at, 3)}]

    def _partial(self, partial: Partial) -> Message:
        return self._results(partial.start, partial.end, partial.text, (), None, is_final=False)

    def _final(self, final: Final) -> Message:
        segment = final.segment
        if segment.words:
            self._last_word_end = segment.words[-1].end
        told = segment.start, segment.end, segment.text, segment.words, final.language
        return self._results(*told, is_final=True)

    def _results(
        self,
        start: float,
        end: float,
        text: str,
        words: Sequence[Word],
        language: str | None,
        *,
        is_final: bool,
    ) -> Message:
        sure = sum(word.probability for word in words) / len(words) if words else 0.0
        alternative = {
            "transcript": text.strip(),
            "confidence": round(sure, 4),
            "words": [_word(word) for word in words],
            **({"languages": [language]} if language else {}),
        }
        return {
            "type": "Results",
            "channel_index": self._index,
            "start": round(start, 3),
            "duration": round(end - start, 3),
            "is_final": is_final,
            "speech_final": False,
            "from_finalize": False,
            "channel": {"alternatives": [alternative]},
            "metadata": self._request.metadata,
        }


def configured(request: Request, asked: Mapping[str, Any]) -> Message:
    """The answer to a Configure: words to expect stay those of the address, and the model formats
    its text as it learned to, whatever features are switched."""
    if asked.get("keyterms") is None:
        return {"type": "ConfigureSuccess", "request_id": request.id}
    return {
        "type": "ConfigureFailure",
        "request_id": request.id,
        "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
        "description": "`keyterm` belongs into the address; it cannot change while audio comes.",
    }


def _word(word: Word) -> Message:
    written = word.text.strip()
    return {
        "word": written.strip(_PUNCTUATION).lower() or written,
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "confidence": round(word.probability, 4),
        "punctuated_word": written,
    }
