"""FilePlaces: how many windows of files are out at WhisperASR at once.

So many for each replica that has answered lately. Replicas that have gone, or were never started,
would leave theirs to the others, whose doors are then full of files when a live window comes. Those
that start are noticed by themselves: Serve gives them of what is out already.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

LATELY = 30.0
"""Seconds. One that takes longer for a window than this has its door full enough with a share of
the others' places."""


class FilePlaces:
    """Places that are taken in the order of asking, their number following the answers."""

    def __init__(
        self, per_replica: int, max_replicas: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_replica = per_replica
        self._max_replicas = max_replicas
        self._clock = clock
        self._answered: dict[str, float] = {}
        """When each replica answered last."""
        self._n_taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """Places there are now; one replica's at least, or nothing would ever be answered."""
        n_replicas = min(max(1, len(self._answered)), self._max_replicas)
        return n_replicas * self._per_replica

    def answered(self, replica: str) -> None:
        """Say who has just answered, be it a file's window or another."""
        self._answered[replica] = self._clock()
        self._grant()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and have it for the length of the block."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._grant()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():  # also if it came as the caller gave up
                self._n_taken -= 1
                self._grant()

    def _grant(self) -> None:
        self._forget()
        while self._waiting and self._n_taken < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():  # else its caller has given up
                self._n_taken += 1
                turn.set_result(None)

    def _forget(self) -> None:
        oldest = self._clock() - LATELY
        self._answered = {name: at for name, at in self._answered.items() if at >= oldest}
