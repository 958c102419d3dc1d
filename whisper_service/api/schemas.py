"""Every HTTP request and answer as a pydantic model: what is checked is what /docs shows.

Owns names, types, ranges, descriptions and examples. The models of the socket's messages are in
messages.py and share the fields defined here.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, Self

from fastapi import UploadFile
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from whisper_service.api.http.errors import shown
from whisper_service.audio.ffmpeg import FORMATS
from whisper_service.languages import LANGUAGES, SCRIPT_PROMPTS, language_tag, whisper_code
from whisper_service.types import WINDOW_SECONDS, DecodeOptions, FileOptions, Task

MAX_PROMPT = 1024 * 1024
"""Characters: all that a message or a field of a form may hold."""
PROMPT_TAIL = 223 * 20
"""Characters of a prompt that are kept, its last ones: Whisper reads its last 223 tokens, and a
word of its multilingual vocabulary has 19 characters at the most."""
MAX_KEYWORDS = 1000
"""In a list of words to expect. Those that do not fit into the prompt are not read."""
DEFAULT_BEAM_SIZE = 5
"""Of files, as faster-whisper's and openai-whisper's command line have it: on real speech a tenth
fewer errors than greedy decoding, in about a third more time. Streams are decoded greedily."""
MAX_BEAMS = 10
"""Each beam costs a decode of its own; beyond five openai-whisper's paper found no gain."""

ResponseFormat = Literal["json", "verbose_json", "text", "srt", "vtt", "tsv"]


class Input(BaseModel):
    """Base of what clients send: an unknown name is refused, never silently ignored."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for name in data.keys() - cls.model_fields.keys():
                allowed = sorted(cls.model_fields)
                shown = str(name)[:100].encode("utf-8", "replace").decode()
                raise PydanticCustomError(
                    "unknown_field",
                    "There is no field {param}; allowed are {names}.",
                    {
                        "param": shown,
                        "got": shown,
                        "allowed": allowed,
                        "names": ", ".join(allowed),
                    },
                )
        return data


class Output(BaseModel):
    """Base of what the service answers."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), frozen=True)


_DETECT = ("", "auto", "und", "mul", "multi")
"""Languages that are none yet: nothing, BCP 47's undetermined and multiple, Deepgram's multiple."""


def _parse_language(value: object) -> object:
    """What `language_tag` makes of it; None where the language is to be detected."""
    if value is None or not isinstance(value, str):
        return value
    if value.strip().lower() in _DETECT:
        return None
    tag = language_tag(value)
    if tag is None:
        raise PydanticCustomError(
            "unknown_language",
            "{given} is not a language Whisper knows; allowed are a tag (`pt-BR`), a code (`deu`)"
            " or a name (`german`) of one of these, or nothing: {codes}.",
            {
                "given": repr(shown(value)),
                "codes": " ".join(sorted(LANGUAGES)),
                "allowed": sorted(LANGUAGES),
            },
        )
    return tag


Language = Annotated[
    str | None,
    BeforeValidator(_parse_language),
    Field(
        description="The spoken language: a BCP 47 tag, an ISO 639 code, or a name in English or"
        " the language itself; empty or `auto` detects it. A region is let go, but Chinese and"
        " Serbian are written in the script that the tag names.",
        examples=["en"],
    ),
]


def spoken(
    language: str | None, prompt: str | None, task: Task = "transcribe"
) -> tuple[str | None, str | None]:
    """The code and the prompt for `DecodeOptions`.

    A script is asked for by a prompt in it, unless the client has a prompt, which is in one.
    """
    if language is None:
        return None, prompt or None
    style = SCRIPT_PROMPTS.get(language) if task == "transcribe" else None
    return whisper_code(language), prompt or style


def with_keywords(keywords: Sequence[str], prompt: str | None) -> str | None:
    """A prompt that ends with the words to expect: of a long one, the end is what is read."""
    words = ", ".join(filter(None, (word.strip(" .") for word in keywords)))
    return " ".join(filter(None, (prompt, words and f"{words}."))) or None


def parse_list(value: object) -> object:
    """The texts of a list that a form may spell in three ways: as several fields of one name, with
    commas between, in JSON. What is no list of texts is left for its field to refuse."""
    parts: list[Any] = list(value) if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(part, str) for part in parts):
        return value
    return [text for part in parts for text in _texts(part)]


def _texts(part: str) -> list[str]:
    if part.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            found = json.loads(part)
            if all(isinstance(each, str) for each in found):
                return list(found)
    return [text.strip() for text in part.split(",")]


def _parse_languages(value: object) -> object:
    """Codes for "en, german", and for a list of such; () for nothing."""
    names = parse_list(value)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return value
    tags = [_parse_language(name) for name in names]
    return tuple(dict.fromkeys(whisper_code(tag) for tag in tags if isinstance(tag, str)))


Keywords = Annotated[
    list[str],
    BeforeValidator(parse_list),
    Field(
        description="Names and terms to expect; they are put behind the prompt.",
        examples=[["KubeRay", "Anyscale"]],
        max_length=MAX_KEYWORDS,
    ),
]


Languages = Annotated[
    tuple[str, ...],
    BeforeValidator(_parse_languages),
    Field(
        description="The languages that detection chooses from, written as `language` is, with"
        " commas between; empty is all.",
        examples=[["en", "de"]],
        max_length=len(LANGUAGES),
    ),
]
ModelSize = Annotated[
    str | None,
    Field(
        description="Name of the model, one of GET /models; the larger, the more accurate and the"
        " slower. Left out, it is the service's default model.",
        examples=["base"],
        max_length=200,
    ),
]
TaskField = Annotated[
    Task,
    Field(
        description="`transcribe` writes what is said in its own language, `translate` writes it"
        " in English.",
        examples=["transcribe"],
    ),
]
Prompt = Annotated[
    str | None,
    Field(
        description="Names, spellings or style that the transcript should follow. Of a long one the"
        " model reads the end, its last 223 tokens.",
        examples=["one two three"],
        max_length=MAX_PROMPT,
    ),
    AfterValidator(lambda prompt: prompt and prompt[-PROMPT_TAIL:]),
]


VadFilter = Annotated[
    bool,
    Field(
        description="Decode only where a voice activity detector hears speech, so that no text is"
        " made up elsewhere. `false` decodes everything that is not silent: for singing, and speech"
        " that the detector misses.",
        examples=[True],
    ),
]


Multilingual = Annotated[
    bool,
    Field(
        description="Where no `language` is given: find it out anew after each pause, for"
        " recordings in several languages. `false` finds it out once, from the first speech.",
        examples=[True],
    ),
]


HallucinationSilence = Annotated[
    float | None,
    Field(
        description="With `word_timestamps`: leave out improbable text between silences longer"
        " than this many seconds, and hear what is around it again. Left out, no text is.",
        examples=[2.0],
        gt=0,
        le=WINDOW_SECONDS,
        allow_inf_nan=False,
    ),
]


KeepOpen = Annotated[
    bool,
    Field(
        description="Where a proxy gives up silent answers: send a space every few seconds before"
        " the JSON. The status is then 200 also where something goes wrong after the first of them;"
        " the body is an `error`. Goes with the formats json and verbose_json.",
        examples=[False],
    ),
]


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

    file: UploadFile = Field(description=f"Audio or video: {FORMATS}. A sample is at /sample.wav.")
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


class DetectionBody(Output):
    """The answer of /detect-language."""

    language: str = Field(
        description="Code of the likeliest language of the first speech; empty if there was none.",
        examples=["en"],
    )
    name: str = Field(description="Its English name.", examples=["english"])
    probability: float = Field(description="How sure that is, 0 to 1.", examples=[0.98])
    probabilities: dict[str, float] = Field(
        description="The ten likeliest languages, likeliest first.",
        examples=[{"en": 0.98, "de": 0.01}],
    )
    warnings: list[str] = Field(
        description="What was wrong with the audio; that no speech was heard, if none was.",
        examples=[[]],
    )


class ModelBody(Output):
    """A model that can be asked for."""

    name: str = Field(description="What to give as `model_size`.", examples=["base"])
    is_multilingual: bool = Field(
        description="Whether it knows more than English.", examples=[True]
    )
    parameters: str | None = Field(description="Its size, for people.", examples=["74 M"])
    n_parameters: int | None = Field(description="Its size, exactly.", examples=[74_000_000])
    memory_bytes: int | None = Field(
        description="Memory it takes on its device.", examples=[1_000_000_000]
    )
    has_weights: bool = Field(
        description="Its weights are there; the first request need not wait for a download.",
        examples=[True],
    )
    is_loaded: bool = Field(description="It is loaded now.", examples=[True])
    can_download: bool = Field(
        description="Its weights are downloaded when it is asked for.", examples=[True]
    )
    path: str = Field(
        description="Where its weights are, or have to be put.",
        examples=["/models/base.pt"],
    )
    note: str | None = Field(None, description="What to know before it is used.", examples=[None])


class ModelsBody(Output):
    """The answer of /models."""

    default: str = Field(description="The model of a request that names none.", examples=["base"])
    notice: str | None = Field(
        None,
        description="Set where the default model could be had from no source and another answers in"
        " its place: which, and why.",
        examples=[None],
    )
    models: list[ModelBody] = Field(
        description="Every model that can be asked for, first those that answer now."
    )


class LanguageBody(Output):
    """A language."""

    code: str = Field(description="What answers carry.", examples=["de"])
    name: str = Field(description="Its English name.", examples=["german"])


class LanguagesBody(Output):
    """The answer of /languages."""

    languages: list[LanguageBody] = Field(description="Every language Whisper knows.")


class StatusBody(Output):
    """The answer of the health checks."""

    status: Literal["ok", "ready"] = Field(
        description="`ok`: the process answers. `ready`: a model is loaded and decodes.",
        examples=["ok"],
    )


class ErrorDetail(BaseModel):
    """What went wrong. Further fields depend on the code, and are named in its description."""

    model_config = ConfigDict(extra="allow", frozen=True)

    code: str = Field(description="What programs branch on.", examples=["unknown_model"])
    message: str = Field(
        description="For people: what was wrong, what was got, what is allowed.",
        examples=["There is no model `huge`; allowed are base, small."],
    )


class ErrorBody(Output):
    """The one shape of every error."""

    error: ErrorDetail = Field(description="What went wrong.")
