"""The files of jobs that have not ended, each under its job's id."""

import os
import shutil
from pathlib import Path
from typing import BinaryIO

_PIECE = 2**20


class Uploads:
    """A folder of them. Everything here blocks, and raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, source: BinaryIO) -> None:
        """Copy a file; it is on the disk, not only on its way there, when this returns."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        source.seek(0)
        handle = os.open(self._folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode=0o600)
        with open(handle, "wb") as target:
            shutil.copyfileobj(source, target, _PIECE)
            target.flush()
            os.fsync(handle)
        folder = os.open(self._folder, os.O_RDONLY)  # its name, too
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def open(self, name: str) -> BinaryIO:
        """A file, to be read."""
        return (self._folder / name).open("rb")

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self._folder / name).unlink(missing_ok=True)

    def names(self) -> set[str]:
        """What there is."""
        try:
            return set(os.listdir(self._folder))
        except FileNotFoundError:
            return set()
