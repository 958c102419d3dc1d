"""A transcript as it is answered: its words, its segments, the whole."""

from typing import Any

from pydantic import Field

from whisper_service.api.schemas.base import Output
from whisper_service.types import Task


class WordBody(Output):
    """A word and when it was said, in seconds."""

    word: str = Field(description="The word, without spaces around it.", examples=["seven"])
    start: float = Field(description="When it begins, in seconds.", examples=[0.42])
    end: float = Field(description="When it ends, in seconds.", examples=[0.8])
    probability: float | None = Field(
        description="How sure the model is of it, 0 to 1.", examples=[0.97]
    )


class SegmentBody(Output):
    """A stretch of text between two timestamps."""

    id: int = Field(description="Counts up from 0.", examples=[0])
    seek: int = Field(description="Its start in mel frames of 10 ms.", examples=[0])
    start: float = Field(description="When it begins, in seconds.", examples=[0.0])
    end: float = Field(description="When it ends, in seconds.", examples=[2.4])
    text: str = Field(
        description="Its text; segments' texts join to the whole.", examples=[" one two three"]
    )
    tokens: list[int] = Field(
        description="Whisper's tokens of the text.", examples=[[50364, 472, 732, 1045, 50484]]
    )
    temperature: float | None = Field(
        description="The temperature it was decoded with.", examples=[0.0]
    )
    avg_logprob: float | None = Field(
        description="Mean log probability of its tokens; below -1 it is doubtful.",
        examples=[-0.21],
    )
    compression_ratio: float | None = Field(
        description="How well the text compresses; above 2.4 it likely repeats itself.",
        examples=[0.9],
    )
    no_speech_prob: float | None = Field(
        description="Probability that nobody speaks, 0 to 1.", examples=[0.01]
    )
    language: str = Field(description="Code of the language it is written in.", examples=["en"])
    words: list[WordBody] | None = Field(
        None, description="Its words, if `word_timestamps` was set.", examples=[None]
    )


class TranscriptBody(Output):
    """The answer of the format `json`."""

    text: str = Field(description="The whole transcript.", examples=["one two three"])
    language: str = Field(
        description="Code of the language of the first speech; empty if there was none and no"
        " language was given.",
        examples=["en"],
    )
    duration: float = Field(description="Length of the audio, in seconds.", examples=[2.4])


class VerboseTranscriptBody(TranscriptBody):
    """The answer of the format `verbose_json`."""

    task: Task = Field(description="What was asked for.", examples=["transcribe"])
    language_probability: float | None = Field(
        description="How sure the language is, 0 to 1; 1 if it was given.", examples=[0.99]
    )
    segments: list[SegmentBody] = Field(description="The transcript, cut up.")
    words: list[WordBody] | None = Field(
        None, description="All words, if `word_timestamps` was set.", examples=[None]
    )
    warnings: list[str] = Field(
        description="What was wrong with the audio but did not stop the work.", examples=[[]]
    )


SEGMENT_EXAMPLE: dict[str, Any] = {
    "id": 0,
    "seek": 0,
    "start": 0.0,
    "end": 2.4,
    "text": " one two three",
    "tokens": [50364, 472, 732, 1045, 50484],
    "temperature": 0.0,
    "avg_logprob": -0.21,
    "compression_ratio": 0.9,
    "no_speech_prob": 0.01,
    "language": "en",
}


def format_examples(brief: dict[str, Any], verbose: dict[str, Any]) -> dict[str, Any]:
    """The `content` of an answer in the formats that all protocols have: JSON, brief and verbose,
    as this one writes it, and text, srt and vtt, which are the same in each."""
    return {
        "application/json": {
            "examples": {
                "json": {"summary": "response_format=json", "value": brief},
                "verbose_json": {"summary": "response_format=verbose_json", "value": verbose},
            }
        },
        "text/plain": {"schema": {"type": "string"}, "example": "one two three\n"},
        "application/x-subrip": {
            "schema": {"type": "string"},
            "example": "1\n00:00:00,000 --> 00:00:02,400\none two three\n\n",
        },
        "text/vtt": {
            "schema": {"type": "string"},
            "example": "WEBVTT\n\n00:00:00.000 --> 00:00:02.400\none two three\n\n",
        },
    }
