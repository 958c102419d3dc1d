"""Presence: whether any replica of WhisperASR runs.

Serve keeps a call until there is a replica to take it, and says nothing meanwhile. What was taken
on while there was one waits for the next: a process is back within seconds. Whoever comes when all
are long gone, with their nodes, is told to come again, instead of being left with an open
connection for the minutes that takes. That answers are slow says nothing, so it is Serve's
controller that is asked.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from whisper_service.errors import Unavailable

logger = logging.getLogger(__name__)

LOOK_EVERY = 5.0
"""Seconds between two looks, which all that ask share."""
PATIENCE = 20.0
"""Seconds without any replica after which those who come are sent away: more than one that died
takes to be replaced under load (15 s, docs/operations.md)."""
RETRY_AFTER = 15.0
"""Seconds a client is told to wait: a node takes minutes, a process seconds."""


class Presence:
    """One per WhisperService replica."""

    def __init__(
        self, count: Callable[[], Awaitable[int]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`count`: how many replicas run now. What it raises is taken for `some`."""
        self._count = count
        self._clock = clock
        self._looking = asyncio.Lock()
        self._looked_at = -LOOK_EVERY
        self._away_since: float | None = None

    async def wait(self) -> None:
        """Return once a replica runs; raises `Unavailable` where none has for long, as soon as that
        is known."""
        while True:
            await self._look()
            if self._away_since is None:
                return
            away = self._clock() - self._away_since
            if away >= PATIENCE:
                raise Unavailable(
                    f"No model server has run for {away:.0f} s; one is being started. Send the"
                    " file again.",
                    retry_after=RETRY_AFTER,
                )
            await asyncio.sleep(LOOK_EVERY)

    async def _look(self) -> None:
        async with self._looking:
            if self._clock() - self._looked_at < LOOK_EVERY:
                return
            try:
                n_running = await self._count()
            except Exception:  # the controller is away itself, which passes
                logger.warning("cannot ask Serve for the replicas of WhisperASR", exc_info=True)
                n_running = 1
            self._looked_at = self._clock()
            if n_running:
                self._away_since = None
            elif self._away_since is None:
                self._away_since = self._looked_at


def counter(asr: DeploymentHandle[Any]) -> Callable[[], Awaitable[int]]:
    """How many replicas behind a handle run, as Serve's controller says."""

    def count() -> int:
        deployment = serve.status().applications[asr.app_name].deployments[asr.deployment_name]
        return int(deployment.replica_states.get("RUNNING", 0))

    async def off_the_loop() -> int:
        return await asyncio.to_thread(count)

    return off_the_loop
