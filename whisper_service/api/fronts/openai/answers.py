"""A `Transcript` as OpenAI's clients read it. Pure; the shapes are openai-python's `types.audio`.

What has the same form everywhere (text, srt, vtt, a segment's fields) comes from formats.py.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from whisper_service.formats import FORMATS, Format, segment_fields, to_summary, word_fields
from whisper_service.languages import LANGUAGES
from whisper_service.types import Segment, Transcript

AUDIO_TOKENS_PER_SECOND = 50
"""Positions of Whisper's encoder: 1,500 for 30 s. What it reads of audio, as it reads tokens."""


def render(transcript: Transcript, response_format: str) -> tuple[str, str]:
    """The answer's body and its media type."""
    if response_format == "json":
        fields = to_transcription(transcript)
    elif response_format == "verbose_json":
        fields = to_verbose_transcription(transcript)
    else:
        chosen: Format = FORMATS[response_format]
        return chosen.render(transcript), chosen.media_type
    return json.dumps(fields, ensure_ascii=False, allow_nan=False), "application/json"


def to_transcription(transcript: Transcript) -> dict[str, Any]:
    """The short answer."""
    return {"text": transcript.text, "usage": duration_usage(transcript.duration)}


def to_verbose_transcription(transcript: Transcript) -> dict[str, Any]:
    """Everything; words stand at the top level only."""
    summary = to_summary(transcript)
    words = [word_fields(word) for segment in transcript.segments for word in segment.words]
    timed = [{name: word[name] for name in ("word", "start", "end")} for word in words]
    return {
        "task": summary["task"],
        "language": language_name(transcript),
        "duration": summary["duration"],
        "text": summary["text"],
        "segments": [_segment(segment) for segment in transcript.segments],
        **({"words": timed} if timed else {}),
        "usage": duration_usage(transcript.duration),
    }


def language_name(transcript: Transcript) -> str:
    """The language of the text, as an English name: a translation's is always english."""
    if transcript.task == "translate":
        return "english"
    return LANGUAGES.get(transcript.language, transcript.language)


def duration_usage(seconds: float) -> dict[str, Any]:
    """What was used, in whole seconds, rounded up as on OpenAI's bills."""
    return {"type": "duration", "seconds": math.ceil(seconds)}


def token_usage(transcript: Transcript) -> dict[str, Any]:
    """What was used, in the only unit the last event of a stream has."""
    heard = math.ceil(transcript.duration * AUDIO_TOKENS_PER_SECOND)
    written = sum(len(segment.tokens) for segment in transcript.segments)
    return {
        "type": "tokens",
        "input_tokens": heard,
        "input_token_details": {"audio_tokens": heard},
        "output_tokens": written,
        "total_tokens": heard + written,
    }


class Deltas:
    """Segments as deltas that join to the whole text, which has no space at either end."""

    def __init__(self) -> None:
        self._has_begun = False
        self._held = ""
        """White space at the end, told only once something follows it."""

    def next(self, segments: Sequence[Segment]) -> str:
        """What to tell of further segments; empty if there is nothing yet."""
        text = self._held + "".join(segment.text for segment in segments)
        if not self._has_begun:
            text = text.lstrip()
        told = text.rstrip()
        self._held = text[len(told) :]
        self._has_begun = self._has_begun or bool(told)
        return told


def _segment(segment: Segment) -> dict[str, Any]:
    fields = segment_fields(segment)
    fields.pop("words", None)
    return fields
