"""The fields that several protocols share: their types, ranges, descriptions and examples."""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from whisper_service.api.http.errors import shown
from whisper_service.languages import LANGUAGES, SCRIPT_PROMPTS, language_tag, whisper_code
from whisper_service.types import WINDOW_SECONDS, Task

MAX_PROMPT = 1024 * 1024
"""Characters: all that a message or a field of a form may hold."""
PROMPT_TAIL = 223 * 20
"""Characters of a prompt that are kept, its last ones: Whisper reads its last 223 tokens, and a
word of its multilingual vocabulary has 19 characters at the most."""
MAX_KEYWORDS = 1000
"""In a list of words to expect. Those that do not fit into the prompt are not read."""

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
