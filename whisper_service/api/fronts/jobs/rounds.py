"""Work that is found by looking: every so often, and when somebody says that there is some."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from whisper_service.api.tasks import task_group
from whisper_service.errors import Unavailable

logger = logging.getLogger(__name__)

PERIOD = 2.0
"""Seconds between two looks, for what other replicas made or left; what comes here is stirred."""

Look = Callable[[asyncio.TaskGroup], Awaitable[None]]


class Rounds:
    """Calls `look` until cancelled; what it starts in the group is cancelled with it."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._stirred = asyncio.Event()

    def stir(self) -> None:
        """There may be something to do."""
        self._stirred.set()

    async def run(self) -> None:
        """Go round. Of what goes wrong, a bug is logged, and `Unavailable` was where it was raised;
        both end nothing but the round."""
        while True:
            try:
                async with task_group() as group:
                    while True:
                        await self._go(group)
            except Exception:  # a shell: nobody above could do more
                logger.exception("Work in the background failed; it goes on")
            await asyncio.sleep(PERIOD)

    async def _go(self, group: asyncio.TaskGroup) -> None:
        self._stirred.clear()
        try:
            await self._look(group)
        except Unavailable:
            pass
        try:
            async with asyncio.timeout(PERIOD):
                await self._stirred.wait()
        except TimeoutError:
            pass
