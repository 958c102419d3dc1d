"""Every message of the socket /stream as a pydantic model, both ways.

What a client sends is checked strictly: JSON has numbers and booleans, so "5" is no number and
`true` is none either.
"""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from whisper_service.api.http.errors import explain
from whisper_service.api.schemas.base import Input, Output
from whisper_service.api.schemas.fields import Language, ModelSize, Prompt, TaskField, spoken
from whisper_service.api.schemas.transcripts import WordBody
from whisper_service.audio.pcm import MAX_CHANNELS
from whisper_service.errors import InvalidMessage, ServiceError
from whisper_service.policy.stream_events import FinalEnd
from whisper_service.types import (
    WINDOW_SECONDS,
    DecodeOptions,
    Encoding,
    PcmFormat,
    StreamConfig,
)


class ConfigMessage(Input):
    """The first message of a stream. Every field is optional."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    type: Literal["config"] = Field("config", description="May be left out.", examples=["config"])
    model_size: ModelSize = None
    language: Language = None
    task: TaskField = "transcribe"
    prompt: Prompt = None
    sample_rate: int = Field(
        16_000, description="Samples per second and channel.", examples=[48_000], ge=8000, le=48_000
    )
    encoding: Literal["pcm_s16le", "pcm_f32le", "mulaw", "alaw", "container"] = Field(
        "pcm_s16le",
        description="How a sample is written; `container` is webm, ogg, mp3, fragmented mp4 or adts"
        " aac from its beginning, which says its rate and channels itself.",
        examples=["pcm_s16le"],
    )
    channels: int = Field(
        1, description="Interleaved channels, averaged to one.", examples=[1], ge=1, le=MAX_CHANNELS
    )
    chunk_duration: float = Field(
        5.0,
        description="The most seconds of new speech that may wait before their text is final.",
        examples=[5.0],
        ge=0.5,
        le=28,
    )
    overlap: float = Field(
        0.5,
        description="The least seconds of already final audio that are heard again with the next"
        " chunk; usually the last sentence or two are, about 6 s.",
        examples=[0.5],
        ge=0,
        le=5,
    )
    use_context: bool = Field(
        True, description="Let the last final text guide the next chunk.", examples=[True]
    )
    partial_interval: float = Field(
        1.0, description="Seconds between partials; 0 for none.", examples=[1.0], ge=0, le=30
    )
    endpoint_silence: float = Field(
        0.6,
        description="Seconds of pause that make what was said before them final.",
        examples=[0.6],
        ge=0.1,
        le=10,
    )
    vad: bool = Field(
        True, description="Detect speech and leave silence undecoded.", examples=[True]
    )
    word_timestamps: bool = Field(
        False, description="Time every word of a final.", examples=[False]
    )
    hold_punctuation: bool = Field(
        True,
        description="Tell the mark after a final's last word with the text that follows, which"
        " decides it, or alone after 2 s of silence: finals are joined as they are. False: each"
        " final has its own marks, and a sentence with a pause in it becomes two.",
        examples=[True],
    )

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.chunk_duration + self.overlap > WINDOW_SECONDS:
            raise PydanticCustomError(
                "bad_pair",
                "`chunk_duration` and `overlap` together are {got} s; allowed is 30 s, all that"
                " Whisper hears at once.",
                {
                    "param": "chunk_duration",
                    "got": self.chunk_duration + self.overlap,
                    "allowed": "30 s together with overlap",
                },
            )
        return self

    def understood(self, model: str) -> "ConfigMessage":
        """The same by the service's name for the model, as `ready` tells it and a resume needs
        it."""
        return self.model_copy(update={"model_size": model})

    def stream_config(self) -> StreamConfig:
        """The configuration inside; call on what `understood` returned."""
        assert self.model_size is not None
        pcm = None
        if self.encoding != "container":
            pcm = PcmFormat(Encoding(self.encoding), self.sample_rate, self.channels)
        language, prompt = spoken(self.language, self.prompt, self.task)
        return StreamConfig(
            model_size=self.model_size,
            pcm=pcm,
            decode=DecodeOptions(
                task=self.task,
                language=language,
                prompt=prompt,
                timestamps="word" if self.word_timestamps else "segment",
            ),
            chunk_duration=self.chunk_duration,
            overlap=self.overlap,
            use_context=self.use_context,
            partial_interval=self.partial_interval,
            endpoint_silence=self.endpoint_silence,
            vad=self.vad,
            hold_punctuation=self.hold_punctuation,
        )


class ResumeMessage(Input):
    """The first message of a stream that goes on where a broken one ended."""

    model_config = ConfigDict(strict=True)

    resume: str = Field(
        description="The last `resume` that was received.", examples=["eyJj...Zg.aSFr"]
    )


class Finalize(Input):
    """Make everything said so far final now, and go on."""

    type: Literal["finalize"] = Field(description="Its name.", examples=["finalize"])


class Keepalive(Input):
    """Keep a stream open that has no audio to send."""

    type: Literal["keepalive"] = Field(description="Its name.", examples=["keepalive"])


class Stop(Input):
    """The end: what is left becomes final, then come `done` and the close. So does an empty
    binary frame."""

    type: Literal["stop"] = Field(description="Its name.", examples=["stop"])


Seq = Annotated[int, Field(description="Counts up by one over all messages.", examples=[7])]
Resume = Annotated[
    str,
    Field(
        description="Opaque, signed. As the first message of a new connection, with the audio from"
        " here on, it continues the stream on any replica.",
        examples=["eyJj...Zg.aSFr"],
    ),
]


class Ready(Output):
    """The stream is configured; audio may come."""

    type: Literal["ready"] = "ready"
    seq: Seq
    session_id: str = Field(
        description="Names the stream in logs; a resumed stream keeps it.", examples=["6f1c0a9e"]
    )
    config: dict[str, Any] = Field(description="Every field of the configuration, as understood.")
    offset: float = Field(
        description="Seconds of the stream's clock from which audio is wanted.", examples=[0.0]
    )
    resume: Resume


class SpeechStartedMessage(Output):
    """Somebody began to speak."""

    type: Literal["speech_started"] = "speech_started"
    seq: Seq
    at: float = Field(description="Seconds.", examples=[1.2])


class SpeechEndedMessage(Output):
    """A pause of `endpoint_silence` was heard; the finals of what was said have come."""

    type: Literal["speech_ended"] = "speech_ended"
    seq: Seq
    at: float = Field(description="Seconds.", examples=[3.9])


class PartialMessage(Output):
    """What the speech after the last final is thought to be. The next one replaces it."""

    type: Literal["partial"] = "partial"
    seq: Seq
    start: float = Field(description="Seconds.", examples=[1.2])
    end: float = Field(description="Seconds.", examples=[2.9])
    text: str = Field(description="`stable` and `unstable` joined.", examples=[" one two three"])
    stable: str = Field(description="Only grows until its final.", examples=[" one two"])
    unstable: str = Field(description="May still change.", examples=[" three"])


class FinalMessage(Output):
    """Text that is never taken back. Finals come in order and do not overlap."""

    type: Literal["final"] = "final"
    seq: Seq
    id: int = Field(description="Counts finals, from 0.", examples=[0])
    start: float = Field(description="Seconds.", examples=[1.2])
    end: float = Field(description="Seconds.", examples=[3.3])
    text: str = Field(
        description="The text; finals' texts join to the whole.", examples=[" one two three"]
    )
    ends_at: FinalEnd = Field(
        description="What it ends at: `words`, speech goes on; `pause`; `speech`, which is over, by"
        " silence, `finalize` or `stop`.",
        examples=["pause"],
    )
    words: list[WordBody] | None = Field(
        None, description="Its words, if `word_timestamps` was set.", examples=[None]
    )
    language: str = Field(description="Code of the language.", examples=["en"])
    avg_logprob: float | None = Field(
        description="Mean log probability of its tokens; below -1 it is doubtful.",
        examples=[-0.2],
    )
    no_speech_prob: float | None = Field(
        description="Probability that nobody speaks, 0 to 1.", examples=[0.01]
    )
    resume: Resume


class WarningMessage(Output):
    """The service cannot keep up; nothing is dropped, text comes later."""

    type: Literal["warning"] = "warning"
    seq: Seq
    code: Literal["falling_behind"] = Field("falling_behind", description="What is the matter.")
    lag: float = Field(description="Seconds of audio that wait.", examples=[6.5])
    message: str = Field(description="The same for people.", examples=["6.5 s of audio wait."])


class DoneMessage(Output):
    """The stream was stopped and every word of it is final. The close, 1000, comes next."""

    type: Literal["done"] = "done"
    seq: Seq
    duration: float = Field(description="Seconds of audio received.", examples=[61.4])
    text: str = Field(description="All finals joined.", examples=["one two three"])


ServerMessage = (
    Ready
    | SpeechStartedMessage
    | SpeechEndedMessage
    | PartialMessage
    | FinalMessage
    | WarningMessage
    | DoneMessage
)


def parse_opening(text: str) -> ConfigMessage | ResumeMessage:
    """The first message; raises `InvalidMessage` or `InvalidParameter`."""
    fields = _parse_object(text)
    try:
        if "resume" in fields:
            return ResumeMessage.model_validate(fields)
        return ConfigMessage.model_validate(fields)
    except ValidationError as error:
        raise _explain(error) from None


_COMMANDS: dict[str, type[Finalize | Keepalive | Stop]] = {
    "finalize": Finalize,
    "keepalive": Keepalive,
    "stop": Stop,
}


def parse_command(text: str) -> Finalize | Keepalive | Stop:
    """Any later text message; raises `InvalidMessage`."""
    fields = _parse_object(text)
    kind = fields.get("type")
    command = _COMMANDS.get(kind) if isinstance(kind, str) else None
    if command is None:
        raise InvalidMessage(
            "Text messages after the first need a `type`: finalize, keepalive or stop;"
            " audio goes into binary messages.",
            param="type",
            allowed=sorted(_COMMANDS),
        )
    try:
        return command.model_validate(fields)
    except ValidationError as error:
        failure = _explain(error)
        raise InvalidMessage(failure.message, **failure.details) from None


def _explain(error: ValidationError) -> ServiceError:
    return explain([dict(failure) for failure in error.errors(include_url=False)])


def _parse_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # RecursionError: a hundred thousand open brackets
        raise InvalidMessage("A text message has to be JSON, and this one is not.") from None
    if not isinstance(value, dict):
        raise InvalidMessage("A text message has to be a JSON object, in braces.")
    return value


def _refuse_constant(name: str) -> None:
    """Python reads NaN and Infinity, which are not JSON."""
    raise ValueError(name)
