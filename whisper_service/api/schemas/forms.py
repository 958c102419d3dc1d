"""The forms that come with a file, and what they ask for."""

from typing import Self

from fastapi import UploadFile
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from whisper_service.api.schemas.base import Input
from whisper_service.api.schemas.fields import (
    HallucinationSilence,
    KeepOpen,
    Language,
    Languages,
    ModelSize,
    Multilingual,
    Prompt,
    TaskField,
    VadFilter,
    spoken,
)
from whisper_service.audio.ffmpeg import INPUT_FORMATS
from whisper_service.formats import ResponseFormat
from whisper_service.types import DecodeOptions, FileOptions

DEFAULT_BEAM_SIZE = 5
"""Of files, as faster-whisper's and openai-whisper's command line have it: on real speech a tenth
fewer errors than greedy decoding, in about a third more time. Streams are decoded greedily."""
MAX_BEAMS = 10
"""Each beam costs a decode of its own; beyond five openai-whisper's paper found no gain."""


def check_keep_open(*, keep_open: bool, response_format: str) -> None:
    """Refuse to put white space before what is no JSON."""
    if keep_open and response_format not in ("json", "verbose_json"):
        raise PydanticCustomError(
            "bad_pair",
            "`keep_open` puts white space before the answer, which only JSON allows; allowed as"
            " `response_format` is json, verbose_json.",
            {"param": "response_format", "allowed": ["json", "verbose_json"]},
        )


class DetectForm(Input):
    """The form of /detect-language."""

    file: UploadFile = Field(
        description=f"Audio or video: {INPUT_FORMATS}. A sample is at /sample.wav."
    )
    model_size: ModelSize = None
    audio_track: int | None = Field(
        None,
        description="Which of the file's audio tracks, counted from 0. Left out, it is the default"
        " one with the most channels, or the next best where that cannot be decoded.",
        examples=[0],
        ge=0,
    )
    allowed_languages: Languages = ()

    def options(self) -> FileOptions:
        """What the form asks for."""
        decode = DecodeOptions(allowed_languages=self.allowed_languages)
        return FileOptions(decode, audio_track=self.audio_track)


class TranscriptForm(DetectForm):
    """What every form that asks for a transcript has."""

    language: Language = None
    task: TaskField = "transcribe"
    prompt: Prompt = None
    temperature: float | None = Field(
        None,
        description="Sampling temperature, 0 to 1. Left out, decoding starts at 0 and is repeated"
        " with more, in steps of 0.2, as long as its result looks wrong.",
        examples=[0],
        ge=0,
        le=1,
        allow_inf_nan=False,
    )
    beam_size: int | None = Field(
        None,
        description=f"Beams of a beam search at temperature 0, {DEFAULT_BEAM_SIZE} if left out; 1"
        " is greedy decoding: faster, with more errors.",
        examples=[1],
        ge=1,
        le=MAX_BEAMS,
    )
    word_timestamps: bool = Field(
        False,
        description="Time every word; `verbose_json` and streamed segments then carry `words`.",
        examples=[True],
    )
    vad_filter: VadFilter = True
    multilingual: Multilingual = True
    hallucination_silence_threshold: HallucinationSilence = None
    response_format: ResponseFormat = Field(
        "json", description="Form of the transcript.", examples=["verbose_json"]
    )

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if self.beam_size is not None and self.temperature:
            raise PydanticCustomError(
                "bad_pair",
                "`beam_size` only has a meaning at temperature 0; leave one of the two out.",
                {"param": "beam_size", "allowed": "temperature 0 or none"},
            )
        if self.hallucination_silence_threshold is not None and not self.word_timestamps:
            raise PydanticCustomError(
                "bad_pair",
                "`hallucination_silence_threshold` judges words by their times; set"
                " `word_timestamps`, too.",
                {"param": "hallucination_silence_threshold", "allowed": "word_timestamps true"},
            )
        return self

    def options(self) -> FileOptions:
        """What the form asks for."""
        default = DecodeOptions()
        language, prompt = spoken(self.language, self.prompt, self.task)
        decode = DecodeOptions(
            task=self.task,
            language=language,
            allowed_languages=self.allowed_languages,
            prompt=prompt,
            temperatures=default.temperatures if self.temperature is None else (self.temperature,),
            beam_size=self.beam_size or DEFAULT_BEAM_SIZE,
            timestamps="word" if self.word_timestamps else "segment",
            hallucination_silence_threshold=self.hallucination_silence_threshold,
        )
        return FileOptions(
            decode,
            vad_filter=self.vad_filter,
            multilingual=self.multilingual,
            audio_track=self.audio_track,
        )


class TranscribeForm(TranscriptForm):
    """The form of /transcribe."""

    stream: bool = Field(
        False,
        description="Answer with server-sent events, one for each segment as soon as it is"
        " decoded; goes with the formats json and verbose_json.",
        examples=[False],
    )
    keep_open: KeepOpen = False

    @model_validator(mode="after")
    def _check_stream(self) -> Self:
        check_keep_open(keep_open=self.keep_open, response_format=self.response_format)
        if self.stream and self.response_format not in ("json", "verbose_json"):
            raise PydanticCustomError(
                "bad_pair",
                "`stream` answers with events, which are JSON; leave `response_format` out.",
                {"param": "response_format", "allowed": ["json", "verbose_json"]},
            )
        return self
