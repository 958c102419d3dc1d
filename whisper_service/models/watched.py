"""A program that downloads, watched and ended if it stands still."""

import os
import stat
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from whisper_service.models.progress import Progress, StallGuard
from whisper_service.models.weight_files import FetchError

_LOOK_EVERY = 0.2
"""Seconds between two looks at how much there is."""
_END_WITHIN = 5.0
"""Seconds a program has to end after it was asked to."""


def run_watched(
    command: Sequence[str],
    folder: Path,
    *,
    timeout: float,
    total: int | None,
    progress: Progress,
    environment: Mapping[str, str],
) -> str:
    """Run `command`, which downloads into `folder`; -> what it printed.

    Raises `FetchError` with the last line of its complaint if it fails, or if next to nothing
    came into the folder for `timeout` seconds.
    """
    guard = StallGuard(timeout)
    n_had = folder_bytes(folder)
    with subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while True:
            try:
                output, complaint = process.communicate(timeout=_LOOK_EVERY)
                break
            except subprocess.TimeoutExpired:
                n_bytes = folder_bytes(folder)
                try:
                    guard.check(n_bytes - n_had)
                except FetchError:
                    _end(process)
                    raise
                progress(n_bytes, total)
            except BaseException:
                _end(process)
                raise
    if process.returncode:
        raise FetchError(last_line(complaint) or f"it ended with {process.returncode}")
    return output


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder and those below; both may go while they are counted."""
    total = 0
    for parent, _, names in os.walk(folder):  # passes over a folder that has gone
        for name in names:
            with suppress(OSError):
                found = os.lstat(os.path.join(parent, name))
                total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


def last_line(complaint: str) -> str:
    """The line that says why: the last that pip marks as an error, else the last of all."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    marked = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (marked or lines or [""])[-1][:300]


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    deadline = time.monotonic() + _END_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
