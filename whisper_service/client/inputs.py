"""What the command `transcribe` is to read: files, folders, patterns, standard input and pipes.

Finds them before any work is done, and opens each as a file that has a length.
"""

import asyncio
import glob
import os
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from whisper_service.audio.ffmpeg import FILE_ENDINGS
from whisper_service.client.failure import ClientFailure, ExitCode
from whisper_service.client.sources import pipe_frames

STDIN = "-"
MAX_PIPED_BYTES = 4 * 1024**3
"""All that is taken from a pipe, which could go on for ever: a day and a half of 16 kHz wav."""


@dataclass(frozen=True, slots=True)
class Input:
    """One recording. `path` is None for standard input."""

    path: Path | None
    problem: str = ""
    """Why there is none."""

    @property
    def shown(self) -> str:
        """What it is called where a person reads it."""
        return "standard input" if self.path is None else str(self.path)

    @property
    def name(self) -> str:
        """What the service and the results' names are told."""
        return "stdin" if self.path is None else self.path.name

    def failure(self, reason: str) -> ClientFailure:
        """What cannot be done with it, and why."""
        return ClientFailure(f"{self.shown}: {reason}", ExitCode.UNREADABLE)


def find_inputs(arguments: Sequence[str]) -> list[Input]:
    """The recordings that arguments name, each once.

    A folder is all audio and video under it, a pattern (`*.mp3`, `**/*.wav`) what it matches.
    """
    found = [each for argument in arguments for each in _find(argument)]
    return list({_identity(each): each for each in reversed(found)}.values())[::-1]


def _find(argument: str) -> list[Input]:
    path = Path(argument)
    if argument == STDIN:
        return [Input(None)]
    if path.is_dir():
        inside = _recordings(path)
        return inside or [Input(path, "There is no audio or video file in this folder.")]
    if not path.exists() and any(char in argument for char in "*?["):
        matches = sorted(glob.glob(argument, recursive=True))
        files = [Input(Path(match)) for match in matches if not Path(match).is_dir()]
        return files or [Input(path, "No file matches.")]
    return [Input(path)]


def _recordings(folder: Path) -> list[Input]:
    """By name; hidden files are no recordings (macOS puts `._talk.mp3` beside `talk.mp3`)."""
    return [
        Input(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower().lstrip(".") in FILE_ENDINGS
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]


def _identity(each: Input) -> str:
    return STDIN if each.path is None else os.path.realpath(each.path)


def name_results(inputs: Iterable[Input], ending: str) -> list[str]:
    """A file name for each, no two alike, also where upper and lower case are one.

    `talk.srt` of `talk.wav`; where others would be called the same, `talk.wav.srt`, and then
    `monday-talk.wav.srt` of `monday/talk.wav`.
    """
    kept = list(inputs)
    levels = [0] * len(kept)
    while True:
        names = [_result_name(kept[i], level, i) for i, level in enumerate(levels)]
        times = Counter(name.casefold() for name in names)
        alike = [i for i, name in enumerate(names) if times[name.casefold()] > 1]
        if not alike:
            return [f"{name}.{ending}" for name in names]
        for i in alike:
            levels[i] += 1


def _result_name(each: Input, level: int, index: int) -> str:
    path = Path(each.name) if each.path is None else each.path
    if level == 0:
        return path.stem
    parts = Path(os.path.realpath(path)).parts[1:]
    if level > len(parts):  # a/b-c and a-b/c
        return f"{index + 1}-{path.name}"
    return "-".join(parts[-level:])


@asynccontextmanager
async def open_input(each: Input) -> AsyncIterator[BinaryIO]:
    """Open it to be read from its beginning; raises `ClientFailure`.

    What comes through a pipe is put into a temporary file first: an upload says its length.
    """
    if each.problem:
        raise each.failure(each.problem)
    try:
        if each.path is None:
            async with _spooled(each, sys.stdin.buffer) as file:
                yield file
            return
        with each.path.open("rb") as opened:
            if stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                yield opened
            else:
                async with _spooled(each, opened) as file:
                    yield file
    except OSError as error:
        raise each.failure(f"{error.strerror}.") from None


@asynccontextmanager
async def _spooled(each: Input, pipe: BinaryIO) -> AsyncIterator[BinaryIO]:
    if pipe.isatty():
        raise each.failure("This is a terminal; a recording comes through a pipe.")
    with tempfile.TemporaryFile() as file:
        async for data in _within_limit(each, pipe_frames(pipe)):
            await asyncio.to_thread(file.write, data)
        file.seek(0)
        yield file


async def _within_limit(
    each: Input, frames: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    n_bytes = 0
    async for data in frames:
        n_bytes += len(data)
        if n_bytes > MAX_PIPED_BYTES:
            raise each.failure(f"The pipe holds more than {MAX_PIPED_BYTES:,} bytes.")
        yield data
