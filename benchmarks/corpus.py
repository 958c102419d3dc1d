"""Recordings with known words, from a folder in LibriSpeech's layout or from a manifest.

LibriSpeech: SUBSET/SPEAKER/CHAPTER/*.trans.txt with lines `UTTERANCE WORDS`, and UTTERANCE.flac
beside it (https://www.openslr.org/12). A manifest: one JSON object a line with `path` (relative to
the manifest), `text`, `seconds` and, unless it is English, `language`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class CorpusError(ValueError):
    """Why a folder or manifest cannot be read."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One file and the words spoken in it; `set` is the part of the corpus it belongs to."""

    path: Path
    set: str
    text: str
    language: str
    seconds: float


def read_corpus(path: Path) -> list[Recording]:
    """All recordings, in the corpus's order. Raises CorpusError."""
    if path.is_dir():
        found = list(_librispeech(path))
        if not found:
            raise CorpusError(f"{path} has no *.trans.txt in it, as LibriSpeech's folders have")
    elif path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        numbered = enumerate(lines, start=1)
        found = [_of_line(path, number, line) for number, line in numbered if line.strip()]
        if not found:
            raise CorpusError(f"{path} has no lines")
    else:
        raise CorpusError(f"{path} is not there: name a manifest or a folder")
    missing = [recording.path for recording in found if not recording.path.is_file()]
    if missing:
        raise CorpusError(f"{len(missing)} of {len(found)} files are not there: {missing[0]} first")
    return found


def by_set(recordings: list[Recording]) -> dict[str, list[Recording]]:
    """The recordings of each set, in the order in which the sets appear."""
    sets: dict[str, list[Recording]] = {}
    for recording in recordings:
        sets.setdefault(recording.set, []).append(recording)
    return sets


def _librispeech(folder: Path) -> Iterator[Recording]:
    for transcript in sorted(folder.rglob("*.trans.txt")):
        subset = transcript.resolve().parents[2].name
        for line in transcript.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(" ")
            audio = transcript.with_name(f"{name}.flac")
            seconds = flac_seconds(audio) if audio.is_file() else 0.0
            yield Recording(audio, subset, text, "en", seconds)


def _of_line(manifest: Path, number: int, line: str) -> Recording:
    try:
        entry: dict[str, Any] = json.loads(line)
        name = str(entry["path"])
        return Recording(
            path=manifest.parent / name,
            set=Path(name).parts[0] if "/" in name else manifest.stem,
            text=str(entry["text"]),
            language=str(entry.get("language", "en")),
            seconds=float(entry["seconds"]),
        )
    except KeyError as error:
        raise CorpusError(f"{manifest}, line {number}: {error} is missing") from error
    except (ValueError, TypeError) as error:
        raise CorpusError(f"{manifest}, line {number}: {error}") from error


def flac_seconds(path: Path) -> float:
    """How long a FLAC file lasts, of its STREAMINFO block (RFC 9639, 8.2). Raises CorpusError."""
    with path.open("rb") as file:
        head = file.read(26)
    if len(head) < 26 or head[:4] != b"fLaC":
        raise CorpusError(f"{path} is no FLAC file")
    # 20 bits of sample rate, 3 of channels, 5 of sample size, 36 of samples in all
    facts = int.from_bytes(head[18:26])
    rate = facts >> 44
    if not rate:
        raise CorpusError(f"{path} has no sample rate")
    return (facts & ((1 << 36) - 1)) / rate
