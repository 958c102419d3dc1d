"""Recordings with known words, as files and as raw PCM."""

import json
import wave
from pathlib import Path

from tests.end_to_end.stream_client import words

DATA = Path(__file__).parents[1] / "data"


def path(name: str) -> Path:
    """Return the wav of a recording in tests/data."""
    return DATA / f"{name}.wav"


def pcm(name: str) -> bytes:
    """Return a recording as 16 kHz mono pcm_s16le."""
    with wave.open(str(path(name))) as wav:
        return wav.readframes(wav.getnframes())


def spoken_words(name: str) -> list[str]:
    """Return the words that a recording truly holds."""
    return words(json.loads((DATA / f"{name}.json").read_text())["text"])
