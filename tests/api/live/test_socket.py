"""The loops of a socket that ends before they begin."""

import asyncio
import inspect
from types import SimpleNamespace

from whisper_service.api.live.socket import serve_socket


async def forever():
    await asyncio.Event().wait()


async def test_loops_that_never_began_are_closed():
    """A client that leaves at once; a coroutine left over is a warning long after."""

    async def has_closed():
        return

    loops = [forever(), forever()]
    await serve_socket(SimpleNamespace(run=has_closed), loops, lambda error: None)
    assert {inspect.getcoroutinestate(loop) for loop in loops} == {inspect.CORO_CLOSED}
