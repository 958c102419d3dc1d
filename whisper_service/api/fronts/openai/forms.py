"""What OpenAI's clients send to /v1/audio: names, types and ranges, and what is refused by name.

The names are those of openai-python's `TranscriptionCreateParams` and `TranslationCreateParams`.
What this service cannot do is refused with the reason, so that nobody believes it was done. Fields
that are not OpenAI's are in extensions.py.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from fastapi import UploadFile
from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from whisper_service.api.fronts.openai import extensions
from whisper_service.api.fronts.openai.extensions import Extensions, without_ignored
from whisper_service.api.http.params import refuse
from whisper_service.api.schemas.fields import (
    Keywords,
    Language,
    Languages,
    Prompt,
    parse_list,
    spoken,
    with_keywords,
)
from whisper_service.api.schemas.forms import check_keep_open
from whisper_service.audio.ffmpeg import INPUT_FORMATS
from whisper_service.models.names import DEFAULT_MODEL_NAMES
from whisper_service.types import DecodeOptions, FileOptions, Task

Granularity = Literal["word", "segment"]
TextFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]

REFUSED = {
    "include": "log probabilities of tokens are not kept; `verbose_json` has `avg_logprob`",
    "known_speaker_names": extensions.ONE_SPEAKER,
    "known_speaker_references": extensions.ONE_SPEAKER,
}
"""Parameters of the official client that cannot be honoured, and why."""
_OTHER_TASK = {
    "task": "/v1/audio/transcriptions transcribes, and /v1/audio/translations translates"
}


class SpeechForm(Extensions):
    """What both routes take."""

    task: ClassVar[Task]
    file: UploadFile = Field(description=f"Audio or video: {INPUT_FORMATS}.")
    model: str = Field(
        description="One of GET /v1/models; `whisper-1` is the service's default model.",
        examples=[DEFAULT_MODEL_NAMES[0]],
        min_length=1,
        max_length=200,
    )
    prompt: Prompt = None
    response_format: TextFormat = Field(
        "json", description="Form of the transcript.", examples=["verbose_json"]
    )
    temperature: float = Field(
        0,
        description="Sampling temperature. At 0 decoding is repeated with more, in steps of 0.2, as"
        " long as its result looks wrong.",
        examples=[0],
        ge=0,
        le=1,
        allow_inf_nan=False,
    )

    @model_validator(mode="after")
    def _check_keep_open(self) -> Self:
        check_keep_open(keep_open=self.keep_open, response_format=self.response_format)
        return self

    @model_validator(mode="before")
    @classmethod
    def _fold_lists(cls, data: Any) -> Any:
        """Take `name[]`, and `name[0]` and `name[key]` as well, for `name`."""
        if not isinstance(data, Mapping):
            return data
        folded: dict[Any, Any] = {}
        for name, value in data.items():
            base = name.split("[")[0] if isinstance(name, str) else name
            if base != name and base in folded:
                value = [*_listed(folded[base]), *_listed(value)]
            folded[base] = value
        if folded.get("task") == cls.task:  # what the path says already
            del folded["task"]
        return refuse(without_ignored(folded), REFUSED | extensions.REFUSED | _OTHER_TASK)

    def options(self) -> FileOptions:
        """What the form asks for."""
        default = DecodeOptions()
        language, prompt = spoken(self._language(), self.prompt, self.task)
        decode = DecodeOptions(
            task=self.task,
            language=language,
            allowed_languages=self._allowed_languages(),
            prompt=with_keywords(self._keywords(), prompt),
            temperatures=(self.temperature,) if self.temperature else default.temperatures,
            beam_size=self.beam_size,
            best_of=self.best_of,
            patience=self.patience,
            length_penalty=self.length_penalty,
            timestamps="word" if self._wants_words() else "segment",
            compression_ratio_threshold=self.compression_ratio_threshold,
            logprob_threshold=self.log_prob_threshold,
            no_speech_threshold=self.no_speech_threshold,
            hallucination_silence_threshold=(
                self.hallucination_silence_threshold if self._wants_words() else None
            ),
            max_tokens=self.max_new_tokens,
        )
        return FileOptions(decode, vad_filter=self.vad_filter, multilingual=self.multilingual)

    def _language(self) -> str | None:
        return None

    def _allowed_languages(self) -> tuple[str, ...]:
        return ()

    def _keywords(self) -> list[str]:
        return [self.hotwords or ""]

    def _wants_words(self) -> bool:
        return self.word_timestamps and self.response_format == "verbose_json"


class TranslationForm(SpeechForm):
    """The form of /v1/audio/translations."""

    task = "translate"


class TranscriptionForm(SpeechForm):
    """The form of /v1/audio/transcriptions."""

    task = "transcribe"
    language: Language = None
    languages: Languages = ()
    keywords: Keywords = Field(default_factory=list)
    timestamp_granularities: Annotated[list[Granularity], BeforeValidator(parse_list)] = Field(
        ["segment"],
        description="`word` times every word too; goes with `verbose_json`. Also as"
        " `timestamp_granularities[]`.",
        examples=[["word", "segment"]],
        max_length=8,
    )
    chunking_strategy: Literal["auto"] | None = Field(
        None,
        description="Audio is always cut at silence, found without being told how; `auto` says so.",
        examples=["auto"],
    )
    stream: bool = Field(
        False,
        description="Answer with server-sent events: `transcript.text.delta` for each segment as"
        " soon as it is decoded, then `transcript.text.done`; goes with `json` and `text`.",
        examples=[False],
    )

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if "word" in self.timestamp_granularities and self.response_format != "verbose_json":
            raise PydanticCustomError(
                "bad_pair",
                "`timestamp_granularities` has `word`, and only the `response_format`"
                " `verbose_json` can carry words.",
                {"param": "timestamp_granularities", "allowed": "verbose_json"},
            )
        if self.stream and self.response_format not in ("json", "text"):
            raise PydanticCustomError(
                "bad_pair",
                "`stream` answers with events of text; allowed as `response_format` is json, text.",
                {"param": "response_format", "allowed": ["json", "text"]},
            )
        return self

    def _language(self) -> str | None:
        return self.language

    def _allowed_languages(self) -> tuple[str, ...]:
        return self.languages

    def _keywords(self) -> list[str]:
        return [*self.keywords, *super()._keywords()]

    def _wants_words(self) -> bool:
        return "word" in self.timestamp_granularities or super()._wants_words()


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
