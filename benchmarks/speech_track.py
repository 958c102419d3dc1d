"""A long recording of known words: the test recordings, one after the other, with pauses.

Knows the truth: every word, and when each stretch of speech begins and ends.
"""

import io
import json
import wave
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from whisper_service.types import SAMPLE_RATE

ROOT = Path(__file__).parents[1]
CLIPS = (
    ROOT / "tests" / "data" / "english.wav",
    ROOT / "tests" / "data" / "commands.wav",
    ROOT / "tests" / "data" / "digits.wav",
)
PAUSE_SECONDS = 0.5
"""Besides the half second of silence at both ends of a clip: a pause of 1.5 s between two."""
BYTES_PER_SECOND = 2 * SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Speech:
    """Somebody speaks; seconds from the start of the track."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Track:
    """pcm: 16 kHz mono s16le; its words and stretches of speech."""

    pcm: bytes
    words: tuple[str, ...]
    speeches: tuple[Speech, ...]

    @property
    def seconds(self) -> float:
        return len(self.pcm) / BYTES_PER_SECOND


def make_track(seconds: float) -> Track:
    """Whole clips until they last that long."""
    pcm, words, speeches = bytearray(), list[str](), list[Speech]()
    for clip in cycle(CLIPS):
        if len(pcm) >= seconds * BYTES_PER_SECOND:
            break
        facts = json.loads(clip.with_suffix(".json").read_text(encoding="utf-8"))
        at = len(pcm) / BYTES_PER_SECOND
        words += facts["text"].split()
        speeches.append(Speech(at + facts["words"][0]["start"], at + facts["words"][-1]["end"]))
        pcm += _samples(clip) + bytes(int(PAUSE_SECONDS * BYTES_PER_SECOND))
    return Track(bytes(pcm), tuple(words), tuple(speeches))


def _samples(clip: Path) -> bytes:
    with wave.open(str(clip)) as file:
        assert (file.getframerate(), file.getnchannels()) == (SAMPLE_RATE, 1)
        samples: bytes = file.readframes(file.getnframes())
        return samples


def as_wav(pcm: bytes) -> bytes:
    """16 kHz mono s16le as a file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(pcm)
    return file.getvalue()


def bare_words(text: str) -> list[str]:
    """A transcript as words that can be compared."""
    return [word.strip(".,!?").lower() for word in text.split()]


def n_errors(truth: list[str], heard: list[str]) -> int:
    """Least number of words to change, add or leave out."""
    row = list(range(len(heard) + 1))
    for i, true in enumerate(truth, start=1):
        above, row = row, [i]
        for j, said in enumerate(heard, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (true != said)))
    return row[-1]
