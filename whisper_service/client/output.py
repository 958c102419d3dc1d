"""A command's result: what the service said as a `Transcript`, written in the format asked for."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from whisper_service import formats
from whisper_service.client.failure import ClientFailure, ExitCode
from whisper_service.types import Segment, Transcript, Word

Form = Literal["txt", "srt", "vtt", "json", "tsv"]
FORMATS: dict[Form, str] = {
    "txt": "text",
    "srt": "srt",
    "vtt": "vtt",
    "json": "verbose_json",
    "tsv": "tsv",
}
"""The file's ending, to the format's name in the service."""


def segment_of(fields: Mapping[str, Any]) -> Segment:
    """A `final` of a stream, or a `segment` of a file."""
    return Segment(
        id=fields["id"],
        start=fields["start"],
        end=fields["end"],
        text=fields["text"],
        words=_words(fields),
        tokens=tuple(fields.get("tokens", ())),
        avg_logprob=_number(fields.get("avg_logprob")),
        no_speech_prob=_number(fields.get("no_speech_prob")),
        compression_ratio=_number(fields.get("compression_ratio")),
        temperature=_number(fields.get("temperature")),
        language=fields.get("language") or "",
    )


def _words(fields: Mapping[str, Any]) -> tuple[Word, ...]:
    """Their spaces come back from the text: words are told without them."""
    words, rest = [], fields["text"]
    for word in fields.get("words") or ():
        before, _, rest = rest.partition(word["word"])
        text = before + word["word"]
        words.append(Word(text, word["start"], word["end"], _number(word["probability"])))
    return tuple(words)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def transcript_of(
    segments: Sequence[Segment], summary: Mapping[str, Any], *, task: str
) -> Transcript:
    """The whole, with what the service said at its end."""
    return Transcript(
        language=summary.get("language") or "",
        duration=summary.get("duration") or 0.0,
        segments=tuple(segments),
        task="translate" if task == "translate" else "transcribe",
        language_probability=_number(summary.get("language_probability")),
        warnings=tuple(summary.get("warnings", ())),
    )


def write(transcript: Transcript, form: Form, path: Path | None) -> None:
    """Write to a file, or to standard output."""
    text = formats.FORMATS[FORMATS[form]].render(transcript)
    if not text.endswith("\n"):
        text += "\n"
    if path is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ClientFailure(f"{path}: {error.strerror}.", ExitCode.UNREADABLE) from None
