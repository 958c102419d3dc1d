"""Fields that are not OpenAI's, as clients of other servers send them to the same paths.

Those of faster-whisper's and of whisper.cpp's servers, of vLLM and of LocalAI. Each is honoured
(`Extensions`), ignored by name, or refused, where the transcript would be of another kind.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import Request
from pydantic import Field

from whisper_service.api.http.errors import shown
from whisper_service.api.http.params import asks_nothing
from whisper_service.api.schemas.base import Input
from whisper_service.api.schemas.fields import (
    HallucinationSilence,
    KeepOpen,
    Multilingual,
    Prompt,
    VadFilter,
)
from whisper_service.api.schemas.forms import DEFAULT_BEAM_SIZE, MAX_BEAMS
from whisper_service.errors import InvalidParameter
from whisper_service.settings import Settings

ONE_SPEAKER = "speakers are not told apart here"
_ALL_OF_IT = "all of the file is transcribed"
REFUSED = {
    "diarize": ONE_SPEAKER,
    "diarization": ONE_SPEAKER,
    "num_speakers": ONE_SPEAKER,
    "min_speakers": ONE_SPEAKER,
    "max_speakers": ONE_SPEAKER,
    "url": "nothing is fetched; send the audio as `file`",
    "clip_timestamps": _ALL_OF_IT,
    "offset_t": _ALL_OF_IT,
    "duration": _ALL_OF_IT,
    "prefix": "the text is what is heard; a `prompt` comes before it",
    "translate": "/v1/audio/translations translates",
    "to_language": "Whisper translates into English alone, and /v1/audio/translations does",
}
"""What cannot be honoured, and why."""
IGNORED = frozenset(
    {
        # OpenAI's other APIs, vLLM
        *("user", "seed", "n", "top_p", "top_k", "min_p", "frequency_penalty"),
        *("presence_penalty", "repetition_penalty", "metadata", "store"),
        *("safety_identifier", "stream_options", "stream_include_usage"),
        *("stream_continuous_usage_stats", "skip_special_tokens"),
        # faster-whisper's `transcribe`
        *("no_repeat_ngram_size", "condition_on_previous_text"),
        *("prompt_reset_on_temperature", "suppress_blank", "suppress_tokens"),
        *("without_timestamps", "max_initial_timestamp", "prepend_punctuations"),
        *("append_punctuations", "language_detection_threshold"),
        *("language_detection_segments", "vad_parameters", "vad_threshold"),
        *("speech_pad_ms", "min_silence_duration_ms", "batch_size", "chunk_length"),
        *("log_progress", "compute_type", "device", "align_model"),
        # whisper.cpp's server
        *("temperature_inc", "entropy_thold", "word_thold", "no_timestamps", "no_context"),
        *("encode", "split_on_word", "max_len", "max_context", "threads", "processors"),
        "suppress_nst",
    }
)
"""What a server is told of how to work, and this one does by itself or not at all."""
RENAMED = {
    "initial_prompt": "prompt",
    "max_tokens": "max_new_tokens",
    "max_completion_tokens": "max_new_tokens",
    "logprob_threshold": "log_prob_threshold",
    "logprob_thold": "log_prob_threshold",
    "no_speech_thold": "no_speech_threshold",
    "vad": "vad_filter",
}
"""Other names of what is honoured."""


class Extensions(Input):
    """What is honoured: by faster-whisper's names and with its meaning; `keep_open` is our own."""

    vad_filter: VadFilter = True
    hotwords: Prompt = Field(
        None,
        description="Words that are likely to be said; they come after the `prompt`.",
        examples=["Ray, KubeRay"],
    )
    beam_size: int = Field(
        DEFAULT_BEAM_SIZE,
        description="Beams of the search at temperature 0.",
        examples=[1],
        ge=1,
        le=MAX_BEAMS,
    )
    best_of: int | None = Field(
        None,
        description="Samples at temperatures above 0, of which the likeliest is taken.",
        examples=[5],
        ge=1,
        le=MAX_BEAMS,
    )
    patience: float | None = Field(
        None,
        description="The beam search ends with `patience` times `beam_size` candidates.",
        examples=[1.0],
        gt=0,
        le=MAX_BEAMS,
        allow_inf_nan=False,
    )
    length_penalty: float | None = Field(
        None,
        description="Exponent of the length that candidates' probabilities are divided by.",
        examples=[1.0],
        ge=0,
        le=1,
        allow_inf_nan=False,
    )
    compression_ratio_threshold: float | None = Field(
        2.4,
        description="A decode that compresses better than this is repeated with a higher"
        " temperature.",
        examples=[2.4],
        allow_inf_nan=False,
    )
    log_prob_threshold: float | None = Field(
        -1.0,
        description="A decode with a lower mean log probability is repeated with a higher"
        " temperature.",
        examples=[-1.0],
        allow_inf_nan=False,
    )
    no_speech_threshold: float | None = Field(
        0.6,
        description="A doubtful decode with a higher probability of no speech is silence.",
        examples=[0.6],
        allow_inf_nan=False,
    )
    max_new_tokens: int | None = Field(
        None, description="Tokens of one window of 30 s at the most.", examples=[224], ge=1
    )
    multilingual: Multilingual = True
    word_timestamps: bool = Field(
        False, description="Time every word, where the format is `verbose_json`.", examples=[True]
    )
    hallucination_silence_threshold: HallucinationSilence = None
    keep_open: KeepOpen = False


def without_ignored(fields: Mapping[Any, Any]) -> dict[Any, Any]:
    """The fields by their names here, without those that have no effect."""
    named: dict[Any, Any] = {}
    for name, value in fields.items():
        if name not in IGNORED:
            named.setdefault(RENAMED.get(name, name), value)
    return named


def ignored_fields(settings: Settings) -> Callable[[Request], Awaitable[tuple[str, ...]]]:
    """A dependency: the names of a form's fields that have no effect.

    With `settings.strict_fields` it raises `InvalidParameter` for the first of them.
    """

    async def find(request: Request) -> tuple[str, ...]:
        form = await request.form()
        given = [name for name in form if name in IGNORED and not asks_nothing(form[name])]
        if given and settings.strict_fields:
            raise InvalidParameter(
                f"`{given[0]}` has no effect here, and WHISPER_STRICT_FIELDS says that such a field"
                " is refused.",
                param=given[0],
                got=shown(form[given[0]]),
                allowed="to leave it out",
            )
        return tuple(given)

    return find


def ignored_header(names: tuple[str, ...]) -> dict[str, str]:
    """What an answer says of them."""
    return {"X-Ignored-Fields": ", ".join(names)} if names else {}
