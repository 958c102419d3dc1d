"""The address of a Deepgram live request: what is understood, and what is refused by name."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from whisper_service.api.errors import explain
from whisper_service.api.messages import MAX_CHANNELS
from whisper_service.api.refusals import refuse
from whisper_service.api.schemas import Input, Language, spoken
from whisper_service.types import DecodeOptions, Encoding, PcmFormat, StreamConfig

REFUSED = {
    "callback": "results come over the socket alone",
    "callback_method": "results come over the socket alone",
    "detect_entities": "the model finds no entities",
    "diarize": "speakers are not told apart here",
    "diarize_model": "speakers are not told apart here",
    "dictation": "the model writes punctuation as it hears it",
    "extra": "nothing is stored with a request",
    "keyterm": "the model takes no list of words",
    "keywords": "the model takes no list of words",
    "language_hint": "the model takes one language or detects it; give `language`",
    "numerals": "the model chooses how it writes numbers",
    "profanity_filter": "words are told as they were heard",
    "redact": "words are told as they were heard",
    "replace": "words are told as they were heard",
    "search": "words are told as they were heard",
    "tag": "nothing is stored with a request",
}
"""Parameters of the official client that cannot be honoured, and why."""

_ENCODINGS = {
    "linear16": Encoding.PCM_S16LE,
    "mulaw": Encoding.MULAW,
    "alaw": Encoding.ALAW,
}
DEFAULT_ENDPOINTING_MS = 600
"""As /stream. Deepgram's own 10 ms would cut Whisper's windows inside of words."""
NO_ENDPOINTING = 10.0
"""Seconds of pause that end a stretch of speech where no endpoint is asked for: the most a stream
may be set to."""


def _endpointing(value: object) -> object:
    """Milliseconds; None for `false`."""
    if value == "false":
        return None
    return DEFAULT_ENDPOINTING_MS if value == "true" else value


class ListenQuery(Input):
    """Every parameter that is understood."""

    refused: ClassVar[dict[str, str]] = REFUSED

    model: str | None = Field(None, max_length=200)
    language: Language = None
    encoding: Literal["linear16", "mulaw", "alaw", "ogg-opus"] | None = None
    """None is audio in a container, which says itself what it holds; Ogg is one."""
    sample_rate: int | None = Field(None, ge=8000, le=48_000)
    channels: int = Field(1, ge=1, le=MAX_CHANNELS)
    multichannel: bool = False
    interim_results: bool = False
    endpointing: Annotated[int | None, BeforeValidator(_endpointing)] = Field(
        DEFAULT_ENDPOINTING_MS, ge=100, le=10_000
    )
    utterance_end_ms: int | None = Field(None, ge=1000, le=5000)
    vad_events: bool = False
    punctuate: Literal["true"] = "true"
    smart_format: bool = True
    mip_opt_out: bool = True
    version: Literal["latest"] = "latest"

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, data: Any) -> Any:
        return refuse(data, REFUSED)

    @model_validator(mode="after")
    def _check_pairs(self) -> "ListenQuery":
        if self.utterance_end_ms is not None and not self.interim_results:
            raise PydanticCustomError(
                "bad_pair",
                "`utterance_end_ms` needs `interim_results` to be true.",
                {"param": "utterance_end_ms", "allowed": "interim_results=true"},
            )
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

    @property
    def model_name(self) -> str | None:
        """The model, by the client's name for it; Deepgram's bare `whisper` asks for none."""
        return None if self.model == "whisper" else self.model

    def stream_config(self, model: str) -> StreamConfig:
        """How each of them is heard, by the service's name for the model."""
        pause_ms = self.endpointing or self.utterance_end_ms
        language, prompt = spoken(self.language, None)
        return StreamConfig(
            model_size=model,
            pcm=self._pcm,
            decode=DecodeOptions(language=language, prompt=prompt, timestamps="word"),
            partial_interval=1.0 if self.interim_results else 0.0,
            endpoint_silence=pause_ms / 1000 if pause_ms else NO_ENDPOINTING,
        )


def parse_query(fields: dict[str, str]) -> ListenQuery:
    """The parameters of an address; raises `InvalidParameter`."""
    try:
        return ListenQuery.model_validate(fields)
    except ValidationError as error:
        raise explain([dict(failure) for failure in error.errors(include_url=False)]) from None
