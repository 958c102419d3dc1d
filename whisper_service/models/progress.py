"""How far a download is: a bar where a person looks on, lines in the log elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes there will be, where that is known."""

_LOG_EVERY = 10.0
"""Seconds between two lines of one download."""
_MB = 1e6


def no_progress(done: int, total: int | None) -> None:
    """For whoever does not want to know."""


@contextmanager
def shown_progress(name: str) -> Iterator[Progress]:
    """Show how far the download of model `name` is, with its speed."""
    if not sys.stderr.isatty():
        yield _Lines(name)
        return
    with tqdm(desc=name, unit="B", unit_scale=True, leave=True, file=sys.stderr) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


class _Lines:
    """One line in the log now and then."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began_at = self._logged_at = time.monotonic()
        self._began_with: int | None = None

    def __call__(self, done: int, total: int | None) -> None:
        if self._began_with is None:
            self._began_with = done  # what an earlier try had left is not this one's speed
        now = time.monotonic()
        if now - self._logged_at < _LOG_EVERY:
            return
        self._logged_at = now
        speed = (done - self._began_with) / (now - self._began_at) / _MB
        of_total = f" of {total / _MB:.0f}" if total else ""
        logger.info(
            "downloading model %s: %.0f%s MB, %.1f MB/s", self._name, done / _MB, of_total, speed
        )
