"""The one writer of a socket, for protocols that answer out of several loops."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from whisper_service.api.session import DRAIN_INTERVAL
from whisper_service.api.tasks import task_group
from whisper_service.errors import (
    IdleTimeout,
    InternalError,
    PayloadTooLarge,
    Restarting,
    ServiceError,
)
from whisper_service.settings import Settings

logger = logging.getLogger(__name__)

MAX_WAITING = 256
"""Messages a slow reader may leave waiting before the service stops reading from it."""


class Outlet:
    """Says what it was given, in order, and closes when it was told to."""

    def __init__(self, socket: WebSocket, patience: float) -> None:
        """`patience`: seconds one message may take; then the client counts as gone."""
        self._socket = socket
        self._patience = patience
        self._messages: deque[str] = deque()
        self._has_news = asyncio.Event()
        self._was_sent = asyncio.Event()
        self._end: tuple[int, str] | None = None

    def say(self, message: str) -> None:
        """Send a message after those before it."""
        self._messages.append(message)
        self._has_news.set()

    def close(self, code: int, reason: str) -> None:
        """Close after everything that was said."""
        self._end = (code, reason)
        self._has_news.set()

    async def room(self) -> None:
        """Wait until few enough messages wait."""
        while len(self._messages) > MAX_WAITING:
            self._was_sent.clear()
            await self._was_sent.wait()

    async def run(self) -> None:
        """Write until the close; raises `WebSocketDisconnect` if the client does not read."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            end = self._end  # looked at before: what was said before it is still sent
            while self._messages:
                await self._send(self._messages.popleft())
            self._was_sent.set()
            if end is not None:
                await self._socket.close(*end)
                return

    async def _send(self, message: str) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._socket.send_text(message)
        except TimeoutError:
            raise WebSocketDisconnect(1006, "The client does not read.") from None


async def converse(
    outlet: Outlet,
    loops: list[Coroutine[Any, Any, None]],
    fail: Callable[[ServiceError], None],
) -> None:
    """Run `loops` beside the outlet until they end, or the first of them fails: `fail` is told
    why, and has to close the outlet. Raises `WebSocketDisconnect` if the client left."""
    async with task_group() as group:
        group.create_task(outlet.run())
        try:
            async with task_group() as working:
                for loop in loops:
                    working.create_task(loop)
        except WebSocketDisconnect:
            raise
        except ServiceError as error:
            fail(error)
        except Exception:  # the API's shell: a bug must not reach the client
            logger.exception("A session failed")
            fail(InternalError())


async def next_message(socket: WebSocket, settings: Settings) -> Message:
    """The client's next message; raises `IdleTimeout`, `PayloadTooLarge`, and
    `WebSocketDisconnect` if there is no more."""
    limit, most = settings.stream_idle_timeout, settings.max_message_bytes
    try:
        async with asyncio.timeout(limit):
            message = await socket.receive()
    except TimeoutError:
        raise IdleTimeout(f"Nothing was received for {limit:g} s.", limit=limit) from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    if len(message.get("text") or message.get("bytes") or "") > most:
        raise PayloadTooLarge(f"A message has more than {most:,} bytes.", max_bytes=most)
    return message


async def watch_drain(draining: Callable[[], bool]) -> None:
    """Raises `Restarting` once the replica goes away."""
    while not draining():  # noqa: ASYNC110  Ray only has a flag, nothing to await
        await asyncio.sleep(DRAIN_INTERVAL)
    raise Restarting("This replica is going away; connect again.", retry_after=0)
