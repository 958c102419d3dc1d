"""A Realtime transcription session's configuration, in the current nested shape and the older flat
one, and the `StreamConfig` it stands for.

Shapes: openai-python's `types.realtime.RealtimeTranscriptionSession*` and, for the flat one,
`types.beta.realtime.TranscriptionSession*`. An update changes the fields it names; null clears.
What is not done here, or not as asked, does not take the rest of an update with it: `adapted`
leaves it out or rounds it, and says so. What would make another transcript is an error.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from whisper_service.api.http.errors import explain, shown
from whisper_service.api.http.params import asks_nothing
from whisper_service.api.schemas.base import Input
from whisper_service.api.schemas.fields import (
    Keywords,
    Language,
    Languages,
    Prompt,
    spoken,
    with_keywords,
)
from whisper_service.errors import InvalidParameter, ServiceError
from whisper_service.models.names import DEFAULT_MODEL_NAMES
from whisper_service.types import DecodeOptions, Encoding, PcmFormat, StreamConfig

PCM_RATE = 24_000
TELEPHONE_RATE = 8_000
"""G.711's only rate."""

_ENCODINGS = {
    "audio/pcm": Encoding.PCM_S16LE,
    "audio/pcmu": Encoding.MULAW,
    "audio/pcma": Encoding.ALAW,
}
_FLAT_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_FLAT_NAMES = {
    "input_audio_transcription": "transcription",
    "input_audio_noise_reduction": "noise_reduction",
    "turn_detection": "turn_detection",
}


MAX_NOTICES = 20
"""More says nothing more, and an update may hold a hundred thousand names."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A field of an update that was not taken as it was sent."""

    param: str
    """Its path."""
    message: str


class _Part(Input):
    """A part of a session."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    without_effect: ClassVar[Mapping[str, str]] = {}
    """Fields of OpenAI's that do nothing here, and why."""
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """What the numbers in it are rounded to."""


class AudioFormat(_Part):
    """How audio is sent."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
    rate: int | None = None

    @model_validator(mode="after")
    def _check_rate(self) -> Self:
        if self.rate not in (None, self.sample_rate):
            raise ValueError(f"{self.sample_rate} for {self.type}")
        return self

    @property
    def sample_rate(self) -> int:
        """Samples per second."""
        return PCM_RATE if self.type == "audio/pcm" else TELEPHONE_RATE


class Transcription(_Part):
    """What to make of the audio."""

    without_effect: ClassVar[Mapping[str, str]] = {"delay": "text is told as soon as it is final"}
    model: str = Field(DEFAULT_MODEL_NAMES[0], min_length=1, max_length=200)
    language: Language = None
    languages: Languages = ()
    prompt: Prompt = None
    keywords: Keywords = Field(default_factory=list)

    def options(self) -> DecodeOptions:
        """How it is decoded."""
        prompt = with_keywords(self.keywords, self.prompt)
        language, prompt = spoken(self.language, prompt)
        return DecodeOptions(language=language, allowed_languages=self.languages, prompt=prompt)


class ServerVad(_Part):
    """Turns end at a pause."""

    without_effect: ClassVar[Mapping[str, str]] = {
        "idle_timeout_ms": "nothing is said to a caller who is silent",
        "create_response": "the service answers with transcripts only",
        "interrupt_response": "the service answers with transcripts only",
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "threshold": (0.05, 0.95),  # at 0 and 1 everything or nothing would be speech
        "prefix_padding_ms": (0, 10_000),
        "silence_duration_ms": (100, 10_000),
    }
    type: Literal["server_vad"] = "server_vad"
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500


class AudioInput(_Part):
    """Everything about the audio that comes in."""

    without_effect: ClassVar[Mapping[str, str]] = {
        "noise_reduction": "the audio is heard as it comes, as Whisper learned to"
    }
    format: AudioFormat = AudioFormat(type="audio/pcm", rate=PCM_RATE)
    transcription: Transcription = Transcription()
    turn_detection: ServerVad | None = ServerVad()


class SessionAudio(_Part):
    """The audio's two directions, of which there is one."""

    input: AudioInput = AudioInput()


class TranscriptionSession(_Part):
    """A session as a client may set it."""

    without_effect: ClassVar[Mapping[str, str]] = {
        "include": "log probabilities of tokens are not kept"
    }
    type: Literal["transcription"] = "transcription"
    audio: SessionAudio = SessionAudio()

    @property
    def is_manual(self) -> bool:
        """The client says where turns end."""
        return self.turns is None

    @property
    def turns(self) -> ServerVad | None:
        """How turns are detected, if they are."""
        return self.audio.input.turn_detection

    def updated(self, patch: Mapping[str, Any]) -> "TranscriptionSession":
        """As `taking`, for who is told nothing."""
        return self.taking(patch)[0]

    def taking(self, patch: Mapping[str, Any]) -> tuple["TranscriptionSession", list[Notice]]:
        """This session with the fields that `patch` names, in either shape, changed; and what of
        them was not taken as it was sent.

        Raises `InvalidParameter` with the path of the field.
        """
        fields, notices = adapted(patch)
        changed = _merged(self.model_dump(), fields)
        try:
            return TranscriptionSession.model_validate(changed), notices
        except ValidationError as error:
            raise _explain(error) from None

    @property
    def model(self) -> str:
        """The model, by the client's name for it."""
        return self.audio.input.transcription.model

    def stream_config(self, model: str) -> StreamConfig:
        """The stream that hears what this session is sent, by the service's name for the model.
        No partials: a delta is final."""
        heard = self.audio.input
        turns = self.turns or ServerVad()
        return StreamConfig(
            model_size=model,
            pcm=PcmFormat(_ENCODINGS[heard.format.type], heard.format.sample_rate),
            decode=heard.transcription.options(),
            partial_interval=0,
            endpoint_silence=turns.silence_duration_ms / 1000,
            vad_threshold=turns.threshold,
        )

    def shown(self, session_id: str, *, is_flat: bool) -> dict[str, Any]:
        """The session as `session.created` and `session.updated` tell it."""
        heard: dict[str, Any] = self.audio.input.model_dump() | {"noise_reduction": None}
        heard["format"] = self.audio.input.format.model_dump(exclude_none=True)
        named: dict[str, Any] = {"id": session_id, "object": "realtime.transcription_session"}
        if not is_flat:
            return named | {"type": self.type, "audio": {"input": heard}, "include": None}
        flat = {name: heard[inner] for name, inner in _FLAT_NAMES.items()}
        formats = {inner: name for name, inner in _FLAT_FORMATS.items()}
        return named | {"input_audio_format": formats[heard["format"]["type"]]} | flat


def is_flat(patch: Mapping[str, Any]) -> bool:
    """Whether an update has the older shape."""
    return "input_audio_format" in patch or not patch.keys().isdisjoint(_FLAT_NAMES)


def nested(patch: Mapping[str, Any]) -> dict[str, Any]:
    """An update of either shape in the current one; names it does not know stay where they are."""
    if not is_flat(patch):
        return dict(patch)
    rest = {k: v for k, v in patch.items() if k not in _FLAT_NAMES and k != "input_audio_format"}
    heard = {_FLAT_NAMES[name]: value for name, value in patch.items() if name in _FLAT_NAMES}
    if "input_audio_format" in patch:
        given = patch["input_audio_format"]
        if given not in (*_FLAT_FORMATS, None):
            raise InvalidParameter(
                f"`input_audio_format` is {str(given)[:100]!r}; allowed are"
                f" {', '.join(_FLAT_FORMATS)}.",
                param="session.input_audio_format",
            )
        heard["format"] = {"type": _FLAT_FORMATS[given or "pcm16"]}
    return rest | {"audio": {"input": heard}}


_PARTS: dict[str, type[_Part]] = {
    "audio": SessionAudio,
    "input": AudioInput,
    "format": AudioFormat,
    "transcription": Transcription,
    "turn_detection": ServerVad,
}
"""By the name of the field that holds it."""


def adapted(patch: Mapping[str, Any]) -> tuple[dict[str, Any], list[Notice]]:
    """An update of either shape in the current one and as far as it can be honoured; and what of it
    cannot be, `MAX_NOTICES` at most."""
    notices: list[Notice] = []
    fields = _adapted(TranscriptionSession, nested(patch), "session", notices)
    return fields, notices[:MAX_NOTICES]


def _adapted(
    part: type[_Part], fields: Mapping[str, Any], path: str, notices: list[Notice]
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if fields.get("type") == "semantic_vad":
        told = "`semantic_vad` is not there; turns end at pauses, as with `server_vad`."
        notices.append(Notice(f"{path}.type", told))
        fields = {**fields, "type": "server_vad", "eagerness": None}
    for name, value in fields.items():
        where = f"{path}.{shown(name)}"
        if name in part.without_effect or name not in part.model_fields:
            if not asks_nothing(value):
                reason = part.without_effect.get(name, "there is no such field")
                notices.append(Notice(where, f"`{shown(name)}` has no effect: {reason}."))
        elif isinstance(value, Mapping) and name in _PARTS:
            kept[name] = _adapted(_PARTS[name], value, where, notices)
        elif name in part.ranges and _is_number(value):
            kept[name] = used = _rounded(part, name, value)
            if used != value:
                notices.append(Notice(where, f"`{name}` is {shown(value)}; {used} is used."))
        else:
            kept[name] = value
    return kept


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _rounded(part: type[_Part], name: str, value: float) -> float:
    """The nearest that is allowed."""
    least, most = part.ranges[name]
    used = min(max(value, least), most)
    return used if part.model_fields[name].annotation is float else round(used)


def _merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with the leaves of `patch`; what changes its `type` is replaced whole."""
    merged = dict(old)
    for name, value in patch.items():
        before = merged.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            is_other = "type" in value and value["type"] != before.get("type")
            merged[name] = dict(value) if is_other else _merged(before, value)
        elif value is None and name != "turn_detection":
            merged.pop(name, None)  # cleared: its default
        else:
            merged[name] = value
    return merged


def _explain(error: ValidationError) -> ServiceError:
    """The first complaint, with the path of the field as its `param`."""
    failure: dict[str, Any] = dict(error.errors(include_url=False)[0])
    explained = explain([failure])
    path = [str(part) for part in failure["loc"]]
    own = failure.get("ctx", {}).get("param")
    explained.details["param"] = ".".join(["session", *path, *([own] if own else [])])
    return explained
