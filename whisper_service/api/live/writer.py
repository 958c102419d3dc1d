"""The one writer of a socket, for protocols that answer out of several loops."""

import asyncio
from collections import deque

from starlette.websockets import WebSocket, WebSocketDisconnect

from whisper_service.settings import Settings

MAX_QUEUED = 256
"""Messages that may be queued for a client that reads slowly; with more, it is not read from."""


class SocketWriter:
    """Sends messages in the order they were given, then the close."""

    def __init__(self, socket: WebSocket, settings: Settings) -> None:
        self._socket = socket
        self._timeout = settings.stream_idle_timeout
        self._messages: deque[str] = deque()
        self._has_work = asyncio.Event()
        self._was_sent = asyncio.Event()
        self._end: tuple[int, str] | None = None

    def send(self, message: str) -> None:
        """Queue a message behind those before it; after `close`, do nothing."""
        if self._end is None:
            self._messages.append(message)
            self._has_work.set()

    def close(self, code: int, reason: str) -> None:
        """Close after all messages that were queued before; the first close counts."""
        if self._end is None:
            self._end = (code, reason)
            self._has_work.set()

    async def wait_for_room(self) -> None:
        """Wait while a client that reads slowly has too many messages queued."""
        while len(self._messages) > MAX_QUEUED:
            self._was_sent.clear()
            await self._was_sent.wait()

    async def run(self) -> None:
        """Write until the close; raises `WebSocketDisconnect` if the client does not read."""
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            while self._messages:
                await self._send(self._messages.popleft())
                self._was_sent.set()
            if self._end is not None:
                await self._socket.close(*self._end)
                return

    async def _send(self, message: str) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._socket.send_text(message)
        except TimeoutError:
            raise WebSocketDisconnect(1006, "The client does not read.") from None
