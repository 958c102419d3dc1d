"""What the routes under /v1 answer, as /docs shows it. Shapes: openai-python's `types`."""

from typing import Any, Literal

from pydantic import Field

from whisper_service.api.schemas.base import Output
from whisper_service.api.schemas.transcripts import SEGMENT_EXAMPLE, SegmentBody, format_examples
from whisper_service.types import Task


class UsageBody(Output):
    """What a request used."""

    type: Literal["duration"] = Field(description="The unit.", examples=["duration"])
    seconds: int = Field(description="Length of the audio, rounded up.", examples=[3])


class TranscriptionBody(Output):
    """The answer of the format `json`."""

    text: str = Field(description="The whole transcript.", examples=["one two three"])
    usage: UsageBody = Field(description="What the request used.")


class TimedWordBody(Output):
    """A word and when it was said."""

    word: str = Field(description="The word, without spaces around it.", examples=["seven"])
    start: float = Field(description="When it begins, in seconds.", examples=[0.42])
    end: float = Field(description="When it ends, in seconds.", examples=[0.8])


class VerboseTranscriptionBody(TranscriptionBody):
    """The answer of the format `verbose_json`."""

    task: Task = Field(description="What was asked for.", examples=["transcribe"])
    language: str = Field(
        description="English name of the language; empty if the audio was silent and none was"
        " given.",
        examples=["english"],
    )
    duration: float = Field(description="Length of the audio, in seconds.", examples=[2.4])
    segments: list[SegmentBody] = Field(description="The transcript, cut up.")
    words: list[TimedWordBody] | None = Field(
        None,
        description="All words, if `timestamp_granularities` has `word`.",
        examples=[[{"word": "one", "start": 0.1, "end": 0.4}]],
    )


class OpenAIModelBody(Output):
    """A model that can be asked for."""

    id: str = Field(description="What to give as `model`.", examples=["whisper-1"])
    object: Literal["model"] = Field("model", description="What this is.")
    created: int = Field(
        description="When Whisper was published; weights carry no date of their own.",
        examples=[1_663_718_400],
    )
    owned_by: str = Field(description="Who serves it.", examples=["whisper-streaming"])


class OpenAIModelsBody(Output):
    """The answer of /v1/models."""

    object: Literal["list"] = Field("list", description="What this is.")
    data: list[OpenAIModelBody] = Field(description="Every model that can be used now.")


class OpenAIErrorDetail(Output):
    """An error as OpenAI's clients turn it into an exception."""

    message: str = Field(
        description="For people: what was wrong, what was got, what is allowed.",
        examples=["There is no model 'huge'; allowed are base, small."],
    )
    type: Literal["invalid_request_error", "server_error"] = Field(
        description="Whose fault it is.", examples=["invalid_request_error"]
    )
    param: str | None = Field(description="The parameter it is about.", examples=["model"])
    code: str = Field(description="What programs branch on.", examples=["model_not_found"])


class OpenAIErrorBody(Output):
    """The shape of every error under /v1."""

    error: OpenAIErrorDetail = Field(description="What went wrong.")


OTHER_ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {"model": OpenAIErrorBody, "description": "Any other error, in the same shape."}
}
_USAGE = {"type": "duration", "seconds": 3}
_SHORT = {"text": "one two three", "usage": _USAGE}
_VERBOSE = {
    "task": "transcribe",
    "language": "english",
    "duration": 2.4,
    "text": "one two three",
    "segments": [SEGMENT_EXAMPLE],
    "usage": _USAGE,
}
TRANSCRIPTION_EXAMPLES: dict[str, Any] = {
    "description": "The transcript in the form asked for.",
    "model": TranscriptionBody | VerboseTranscriptionBody,
    "content": format_examples(_SHORT, _VERBOSE),
}
STREAMED_EXAMPLES: dict[str, Any] = {
    **TRANSCRIPTION_EXAMPLES,
    "content": {
        **TRANSCRIPTION_EXAMPLES["content"],
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": 'data: {"type": "transcript.text.delta", "delta": "one two"}\n\n'
            'data: {"type": "transcript.text.done", "text": "one two"}\n\n',
        },
    },
}
