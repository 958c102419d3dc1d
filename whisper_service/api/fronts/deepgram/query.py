"""The address of a Deepgram live request: what is understood, and what is refused by name."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from whisper_service.api.http.errors import explain
from whisper_service.api.http.params import refuse
from whisper_service.api.schemas.base import Input
from whisper_service.api.schemas.fields import (
    MAX_KEYWORDS,
    Language,
    Languages,
    spoken,
    with_keywords,
)
from whisper_service.audio.pcm import MAX_CHANNELS
from whisper_service.types import DecodeOptions, Encoding, PcmFormat, StreamConfig

REFUSED = {
    "callback": "results come over the socket alone",
    "callback_method": "results come over the socket alone",
    "diarize": "speakers are not told apart here",
    "diarize_model": "speakers are not told apart here",
    "profanity_filter": "words are told as they were heard",
    "redact": "words are told as they were heard",
    "replace": "words are told as they were heard",
}
"""Parameters without which the transcript would be another, or would not come, and why."""
WITHOUT_EFFECT = (
    "alternatives",
    "detect_entities",
    "detect_language",
    "dictation",
    "extra",
    "filler_words",
    "measurements",
    "no_delay",
    "numerals",
    "paragraphs",
    "search",
    "tag",
    "tier",
    "utterances",
    "version",
)
"""Parameters that ask for what happens anyway, or for what is told beside the words."""
LISTS = ("extra", "keyterm", "keywords", "language_hint", "redact", "replace", "search", "tag")
"""Parameters that may be given several times."""

_ENCODINGS = {
    "linear16": Encoding.PCM_S16LE,
    "mulaw": Encoding.MULAW,
    "alaw": Encoding.ALAW,
}
_BOOSTED = re.compile(r"(?P<word>.*?)(:(?P<less>-)?[\d.]+)?", re.DOTALL)
DEFAULT_ENDPOINTING_MS = 600
"""As /stream."""
LEAST_ENDPOINTING_MS = 300
"""Shorter pauses are within a phrase, and Whisper errs where it has no whole one to hear."""
NO_ENDPOINTING = 10.0
"""Seconds of pause that end a stretch of speech where no endpoint is asked for: the most a stream
may be set to."""


def _endpointing(value: object) -> object:
    """Milliseconds; None for `false` and 0. What is out of range is rounded, as the clients' own
    defaults, 10 and 25, are."""
    match value.lower() if isinstance(value, str) else value:
        case "false" | "0":
            return None
        case "true":
            return DEFAULT_ENDPOINTING_MS
    return _within(LEAST_ENDPOINTING_MS, 10_000)(value)


def _within(least: int, most: int) -> Callable[[object], object]:
    """Rounds a whole number to the nearest of a range; anything else is left to be refused."""

    def rounded(value: object) -> object:
        if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,9}", value):
            return value
        return min(max(int(value), least), most)

    return rounded


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class ListenQuery(Input):
    """Every parameter that is understood."""

    model: str | None = Field(None, max_length=200)
    language: Language = None
    encoding: Literal["linear16", "mulaw", "alaw", "ogg-opus"] | None = None
    """None is audio in a container, which says itself what it holds; Ogg is one."""
    sample_rate: int | None = Field(None, ge=8000, le=48_000)
    channels: int = Field(1, ge=1, le=MAX_CHANNELS)
    multichannel: bool = False
    interim_results: bool = False
    endpointing: Annotated[int | None, BeforeValidator(_endpointing)] = DEFAULT_ENDPOINTING_MS
    utterance_end_ms: Annotated[int | None, BeforeValidator(_within(1000, 5000))] = None
    keyterm: Annotated[list[str], BeforeValidator(_as_list)] = Field([], max_length=MAX_KEYWORDS)
    keywords: Annotated[list[str], BeforeValidator(_as_list)] = Field([], max_length=MAX_KEYWORDS)
    language_hint: Languages = ()
    vad_events: bool = False
    punctuate: bool = True
    smart_format: bool = True
    mip_opt_out: bool = True

    @model_validator(mode="before")
    @classmethod
    def _take(cls, data: Any) -> Any:
        asked = refuse(data, REFUSED)
        return {name: value for name, value in asked.items() if name not in WITHOUT_EFFECT}

    @model_validator(mode="after")
    def _check_pairs(self) -> "ListenQuery":
        if self.encoding in _ENCODINGS and self.sample_rate is None:
            raise PydanticCustomError(
                "bad_pair",
                "Raw audio needs its `sample_rate`.",
                {"param": "sample_rate", "allowed": "8000 to 48000"},
            )
        if self.encoding not in _ENCODINGS and self.multichannel:
            raise PydanticCustomError(
                "bad_pair",
                "`multichannel` cannot be honoured for audio in a container: send it raw.",
                {"param": "multichannel", "allowed": ", ".join(_ENCODINGS)},
            )
        return self

    @property
    def n_streams(self) -> int:
        """Channels that are heard apart."""
        return self.channels if self.multichannel else 1

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of one channel."""
        return 2 if self.encoding == "linear16" else 1

    @property
    def _pcm(self) -> PcmFormat | None:
        if self.encoding not in _ENCODINGS:
            return None
        assert self.sample_rate is not None  # checked above
        n_channels = 1 if self.multichannel else self.channels
        return PcmFormat(_ENCODINGS[self.encoding], self.sample_rate, n_channels)

    def stream_config(self, model: str) -> StreamConfig:
        """How each of them is heard, by the service's name for the model."""
        pause_ms = self.endpointing or self.utterance_end_ms
        language, prompt = spoken(self.language, with_keywords(self._expected_words(), None))
        return StreamConfig(
            model_size=model,
            pcm=self._pcm,
            decode=DecodeOptions(
                language=language,
                allowed_languages=self.language_hint,
                prompt=prompt,
                timestamps="word",
            ),
            partial_interval=1.0 if self.interim_results else 0.0,
            endpoint_silence=pause_ms / 1000 if pause_ms else NO_ENDPOINTING,
        )

    def _expected_words(self) -> list[str]:
        """Of keywords (WORD or WORD:INTENSIFIER) those that are to be heard more often."""
        boosted = [_BOOSTED.fullmatch(keyword) for keyword in self.keywords]
        words = [match["word"] for match in boosted if match and not match["less"]]
        return [*self.keyterm, *words]


def parse_query(fields: Mapping[str, object]) -> ListenQuery:
    """The parameters of an address; raises `InvalidParameter`."""
    try:
        return ListenQuery.model_validate(fields)
    except ValidationError as error:
        raise explain([dict(failure) for failure in error.errors(include_url=False)]) from None
