"""Real weights and real speech, and what is said where they are not at hand.

Tests on them are marked `real`. Where the weights cannot be had they are skipped, or fail with
`REAL_TESTS=required`.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.audio.make import run_ffmpeg
from whisper_service.errors import ModelUnavailable
from whisper_service.models.store import ModelStore
from whisper_service.settings import Settings
from whisper_service.types import WINDOW_SAMPLES, Audio

ROOT = Path(__file__).parents[1]
MODELS = ("tiny.en", "base")
CLIPS_DIR = ROOT / "tests" / "data" / "real"
SPEECH_DIR = Path(os.environ.get("REAL_SPEECH", ROOT.parent / "shared" / "speech"))
"""More speech than the repository holds, laid out as tests/data/real is."""
IS_REQUIRED = os.environ.get("REAL_TESTS") == "required"


class Missing(Exception):
    """Real weights cannot be had here; says why."""


@cache
def real_weights(name: str) -> Path:
    """Where the weights of an official model are: a NAME.pt, or a folder NAME of another format.

    Fetched once, as the service does it, into the model folder. Raises `Missing`.
    """
    try:
        return ModelStore.of(Settings()).ensure(name).path
    except ModelUnavailable as error:
        raise Missing(error.message) from error


@cache
def why_missing() -> str | None:
    """The reason why real weights cannot be had, or None where they can."""
    try:
        for name in MODELS:
            real_weights(name)
    except Missing as missing:
        return str(missing)
    return None


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording and what is said in it."""

    path: Path
    text: str
    language: str
    seconds: float

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def set_name(self) -> str:
        """Of more speech: its folder there, for example `clean`."""
        return self.path.parent.name


def read_clips(folder: Path) -> list[Clip]:
    """Every clip that the manifest of a folder names."""
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        Clip(folder / row["path"], row["text"], row["language"], row["seconds"])
        for row in map(json.loads, lines)
    ]


CLIPS = {clip.name: clip for clip in read_clips(CLIPS_DIR)}
"""Those of the repository, by name."""


@cache
def samples(clip: Clip) -> Audio:
    """The first 30 s of a clip at most: one window."""
    return np.frombuffer(_decoded(clip, "f32le"), np.float32)[:WINDOW_SAMPLES].copy()


def pcm(clip: Clip) -> bytes:
    """All of a clip as 16 kHz mono pcm_s16le."""
    return _decoded(clip, "s16le")


def _decoded(clip: Clip, form: str) -> bytes:
    return run_ffmpeg("-i", clip.path, "-ac", "1", "-ar", "16000", "-f", form, "-")


def more_speech() -> list[Clip]:
    """What `SPEECH_DIR` has; skips the test where it is not there."""
    if not (SPEECH_DIR / "manifest.jsonl").is_file():
        pytest.skip("more real speech to test with is not there")
    return read_clips(SPEECH_DIR)


def windows(n: int, languages: Sequence[str] = ()) -> list[Clip]:
    """`n` clips of all kinds, of more speech where it is there, or as many as there are; of all
    languages, or of some."""
    has_more = (SPEECH_DIR / "manifest.jsonl").is_file()
    clips = read_clips(SPEECH_DIR) if has_more else list(CLIPS.values())
    clips = [clip for clip in clips if not languages or clip.language in languages]
    return list(_by_turns(clip for clip in clips if clip.set_name != "long"))[:n]


def _by_turns(clips: Iterable[Clip]) -> list[Clip]:
    """One of each set, then the second of each, and so on."""
    seen: dict[str, int] = {}
    turns = []
    for clip in clips:
        seen[clip.set_name] = turn = seen.get(clip.set_name, 0) + 1
        turns.append((turn, clip))
    return [clip for _, clip in sorted(turns, key=lambda entry: entry[0])]
