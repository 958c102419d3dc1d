"""How far a replica's streams are behind, and whether that allows another one.

The backlog of streams is what an overloaded engine looks like from here, whatever its model and
hardware; the number of streams does not tell.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

from whisper_service.errors import Overloaded

RETRY_AFTER = 5.0
"""Seconds; an engine that has caught up has its streams within their bounds in about as much."""
MAX_LAG = 10.0
"""Seconds, the median of a replica's streams, beyond which no new one is admitted: live text that
is as late is of little use, and one more stream makes all of them later."""
_MIN_STREAMS = 2
"""A single stream that is behind may have sent faster than real time; that is its own affair."""


class LagGate:
    """Refuses new streams while half of those of this replica are behind."""

    def __init__(self, limit: float) -> None:
        """`limit`: the median lag, in seconds, beyond which no new stream is admitted."""
        self._limit = limit
        self._lags: dict[int, Callable[[], float]] = {}
        self._next = 0

    @contextmanager
    def register(self, lag: Callable[[], float]) -> Iterator[None]:
        """Count a stream for the length of the block."""
        number, self._next = self._next, self._next + 1
        self._lags[number] = lag
        try:
            yield
        finally:
            del self._lags[number]

    def check(self) -> None:
        """Raise `Overloaded` if half of the streams are behind."""
        if len(self._lags) < _MIN_STREAMS:
            return
        lag = median(ask() for ask in self._lags.values())
        if lag > self._limit:
            raise Overloaded(
                f"The streams here are {lag:.1f} s behind; no new one is let in beyond"
                f" {self._limit:g} s. Try again, it may be another replica.",
                retry_after=RETRY_AFTER,
                lag=round(lag, 1),
                limit=self._limit,
            )
