"""Whether a replica still decodes: its thread is watched at work, and put to the test when idle."""

import asyncio
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from whisper_service.engine.worker import DecodeWorker

if TYPE_CHECKING:
    from whisper_service.engine.engine import Engine

_PROBE_AFTER = 10.0
"""Seconds without a success after which a health check decodes: often enough to notice a lost
GPU before many requests do, seldom enough to cost an idle replica next to nothing."""
_PROBE_REST = 50.0
"""And at least this many times what the last such decode took: 2 % of an idle device at the most,
also where that is a CPU and the model a big one."""
_PROBE_WAIT = 5.0
"""Seconds a health check waits for its decode before it lets the next check look again; far below
Serve's `health_check_timeout_s`, so that a big model on a slow CPU is not taken for dead."""


class HealthProbe:
    """Watches one decoding thread."""

    def __init__(self, worker: DecodeWorker, stuck_timeout: float) -> None:
        """`stuck_timeout`: seconds that one step of decoding may take."""
        self._worker = worker
        self._stuck_timeout = stuck_timeout
        self._probe: Future[None] | None = None
        self._probe_took = 0.0

    def refuse_if_stuck(self) -> None:
        """Raise RuntimeError if the thread has ended, or stands still.

        A replica that is replaced within `decode_timeout` loses nothing: whoever waits for its
        windows sends them to another.
        """
        if not self._worker.is_alive:
            raise RuntimeError("the decoding thread has ended")
        since, limit = self._worker.busy_since, self._stuck_timeout
        if since is not None and time.monotonic() - since > limit:
            raise RuntimeError(f"one step of decoding has taken more than {limit:g} s")

    async def decode_if_idle(self, engine: "Engine | None") -> None:
        """Decode a moment of sound, unless the thread is at work or has just succeeded; raises what
        that raises. A slow one is asked for later."""
        if engine is None or self._worker.busy_since is not None or self._succeeded_lately():
            return
        if self._probe is None or self._probe.done():
            self._probe = self._worker.call(lambda: self._time(engine))
        with suppress(TimeoutError):  # the next check finds the replica busy, and for how long
            async with asyncio.timeout(_PROBE_WAIT):
                await asyncio.shield(asyncio.wrap_future(self._probe))

    def _succeeded_lately(self) -> bool:
        success = self._worker.last_success
        rest = max(_PROBE_AFTER, _PROBE_REST * self._probe_took)
        return success is not None and time.monotonic() - success < rest

    def _time(self, engine: "Engine") -> None:
        began = time.monotonic()
        engine.warm_up()
        self._probe_took = time.monotonic() - began
