"""When a transfer is given up: too little has come for too long, be it nothing or a drip."""

import time
from collections.abc import Callable

from whisper_service.models.weights import FetchError

MIN_RATE = 1000
"""Bytes a second. Base would take two days at this speed; no network that works is so slow."""


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
