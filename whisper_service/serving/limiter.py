"""Limits how many windows of files are in flight, so that live windows find free capacity.

The limit is proportional to the replicas that answered lately. If replicas that have gone, or were
never started, counted too, files would queue up at the others, and a live window behind them. A
replica that starts is counted from its first answer: Serve sends it some of what is in flight.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from whisper_service.settings import Settings

LATELY = 30.0
"""Seconds. A replica that takes longer than this for a window has enough of a queue with its share
of the others' permits."""

_MIN_WINDOWS = 32
"""Where batches are small."""


def max_windows(settings: Settings) -> int:
    """Windows that Serve lets into one WhisperASR replica at once, unless a config file says
    otherwise: several batches, so that the engine chooses which goes first."""
    return max(_MIN_WINDOWS, 4 * settings.max_batch_size)


class FileWindowLimiter:
    """A semaphore whose number of permits follows the answers; first come, first served."""

    def __init__(self, per_replica: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_replica = per_replica
        self._clock = clock
        self._answered: dict[str, float] = {}
        """When each replica answered last."""
        self._n_acquired = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """Permits there are now; one replica's at least, or nothing would ever be answered."""
        return max(1, len(self._answered)) * self._per_replica

    def answered(self, replica: str) -> None:
        """Note that a replica has just answered, be it a file's window or another."""
        self._answered[replica] = self._clock()
        self._grant()

    def replica_lost(self) -> None:
        """Note that some replica has gone. The others are counted again as they answer, so that
        one that is replaced does not count beside its successor."""
        self._answered.clear()

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[None]:
        """Wait for a permit, and hold it for the length of the block."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._grant()
        try:
            await waiter
            yield
        finally:
            if waiter.done() and not waiter.cancelled():  # also if it came as the caller gave up
                self._n_acquired -= 1
                self._grant()

    def _grant(self) -> None:
        self._forget_silent()
        while self._waiters and self._n_acquired < self.limit:
            waiter = self._waiters.popleft()
            if not waiter.done():  # else its caller has given up
                self._n_acquired += 1
                waiter.set_result(None)

    def _forget_silent(self) -> None:
        oldest = self._clock() - LATELY
        self._answered = {name: at for name, at in self._answered.items() if at >= oldest}
