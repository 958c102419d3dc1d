"""A finished `Transcript` as text, json, verbose_json, srt, vtt or tsv.

Pure functions, one per format, and the table that names them. Knows nothing of HTTP beyond the
media type that belongs to each format. Cues are the segments: Whisper already cuts them to a
sentence or a breath.

Shapes: OpenAI's `audio/transcriptions` for the two JSON formats, the SubRip convention for srt,
https://www.w3.org/TR/webvtt1/ for vtt, and openai-whisper's writer for tsv.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from whisper_service.types import Segment, Transcript, Word

FRAMES_PER_SECOND = 100
"""`seek` counts mel frames: a hop of 160 samples at 16 kHz."""


def to_text(transcript: Transcript) -> str:
    """Nothing but the words, with a line end so that terminals show it well."""
    return transcript.text + "\n"


def to_json(transcript: Transcript) -> dict[str, Any]:
    """The short answer."""
    return {
        "text": transcript.text,
        "language": transcript.language,
        "duration": _seconds(transcript.duration),
    }


def to_verbose_json(transcript: Transcript) -> dict[str, Any]:
    """Everything known. All words are at the top level too, where OpenAI's clients look."""
    words = [word_fields(word) for segment in transcript.segments for word in segment.words]
    return {
        **to_summary(transcript),
        "segments": [segment_fields(segment) for segment in transcript.segments],
        **({"words": words} if words else {}),
    }


def to_summary(transcript: Transcript) -> dict[str, Any]:
    """verbose_json without its parts, for those who were told every segment already."""
    return {
        "task": transcript.task,
        "language": transcript.language,
        "language_probability": _finite(transcript.language_probability),
        "duration": _seconds(transcript.duration),
        "text": transcript.text,
        "warnings": list(transcript.warnings),
    }


def to_srt(transcript: Transcript) -> str:
    """SubRip: numbered cues, a comma before the milliseconds."""
    return "".join(
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{_srt_text(text)}\n\n"
        for number, (start, end, text) in enumerate(_cues(transcript), start=1)
    )


def to_vtt(transcript: Transcript) -> str:
    """WebVTT; hours are always written, which the standard allows and every player reads."""
    cues = (
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{_vtt_text(text)}\n\n"
        for start, end, text in _cues(transcript)
    )
    return "WEBVTT\n\n" + "".join(cues)


def to_tsv(transcript: Transcript) -> str:
    """Tab-separated start, end and text; times are whole milliseconds, so nothing is rounded."""
    rows = (f"{start}\t{end}\t{_one_line(text)}\n" for start, end, text in _cues(transcript))
    return "start\tend\ttext\n" + "".join(rows)


def segment_fields(segment: Segment) -> dict[str, Any]:
    """A segment as verbose_json and the events of a streamed file spell it.

    `seek` is where the segment starts, in mel frames; openai-whisper gives the start of the 30 s
    window it was found in, which says nothing once windows are cut at silences.
    """
    words = [word_fields(word) for word in segment.words]
    return {
        "id": segment.id,
        "seek": round(segment.start * FRAMES_PER_SECOND),
        "start": _seconds(segment.start),
        "end": _seconds(segment.end),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": _finite(segment.temperature),
        "avg_logprob": _finite(segment.avg_logprob),
        "compression_ratio": _finite(segment.compression_ratio),
        "no_speech_prob": _finite(segment.no_speech_prob),
        "language": segment.language,
        **({"words": words} if words else {}),
    }


def word_fields(word: Word) -> dict[str, Any]:
    """A word as clients see it: without the space that joins it to the one before."""
    return {
        "word": word.text.strip(),
        "start": _seconds(word.start),
        "end": _seconds(word.end),
        "probability": _finite(word.probability),
    }


@dataclass(frozen=True, slots=True)
class Format:
    """How one `response_format` is made and what it is called on the wire."""

    media_type: str
    render: Callable[[Transcript], str]


def _as_json(make: Callable[[Transcript], dict[str, Any]]) -> Callable[[Transcript], str]:
    return lambda transcript: json.dumps(make(transcript), ensure_ascii=False, allow_nan=False)


ResponseFormat = Literal["json", "verbose_json", "text", "srt", "vtt", "tsv"]
FORMATS: dict[str, Format] = {
    "json": Format("application/json", _as_json(to_json)),
    "verbose_json": Format("application/json", _as_json(to_verbose_json)),
    "text": Format("text/plain; charset=utf-8", to_text),
    "srt": Format("application/x-subrip; charset=utf-8", to_srt),
    "vtt": Format("text/vtt; charset=utf-8", to_vtt),
    "tsv": Format("text/tab-separated-values; charset=utf-8", to_tsv),
}


def _cues(transcript: Transcript) -> Iterator[tuple[int, int, str]]:
    """(start ms, end ms, text) of every segment that has text.

    A cue lasts at least a millisecond: WebVTT forbids empty ones, and players drop them.
    """
    for segment in transcript.segments:
        text = segment.text.strip()
        if text:
            start = _milliseconds(segment.start)
            yield start, max(_milliseconds(segment.end), start + 1), text


def _clock(milliseconds: int, mark: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{mark}{milliseconds:03d}"


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _seconds(seconds: float) -> float:
    """Whole milliseconds: Whisper's own step is 20 ms, the rest is binary noise."""
    return _milliseconds(seconds) / 1000


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity; a strict reader would refuse the whole answer."""
    return value if math.isfinite(value) else None


def _lines(text: str) -> str:
    """Without empty lines: in both subtitle formats an empty line ends the cue."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _srt_text(text: str) -> str:
    """SubRip knows no escape, so an arrow, which players take for a time line, is shortened."""
    return _lines(text).replace("-->", "->")


def _vtt_text(text: str) -> str:
    return _lines(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _one_line(text: str) -> str:
    return " ".join(text.split())
