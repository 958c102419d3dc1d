"""How far a download is, for whoever waits for it; and when it is given up."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from whisper_service.models.weight_files import FetchError

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes there will be, where that is known."""

MIN_RATE = 1000
"""Bytes a second. Base would take two days at this speed; no network that works is so slow."""
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
            "Downloading model %s: %.0f%s MB, %.1f MB/s.", self._name, done / _MB, of_total, speed
        )


class StallGuard:
    """Raises `FetchError` when fewer than `MIN_RATE` bytes a second came within `timeout`."""

    def __init__(self, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout, self._clock = timeout, clock
        self._since, self._had = clock(), 0

    def check(self, n_bytes: int) -> None:
        """`n_bytes` is all that has come so far."""
        now = self._clock()
        if n_bytes - self._had >= MIN_RATE * self._timeout:
            self._since, self._had = now, n_bytes
        elif now - self._since > self._timeout:
            raise FetchError(f"only {n_bytes - self._had} bytes came in {self._timeout:g} s")
