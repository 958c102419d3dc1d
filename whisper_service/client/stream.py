"""One live stream to the service, over as many connections as it takes.

Owns the socket: sending a tape, receiving messages, coming back with the resume token when the
connection breaks. What is done with the messages is the caller's.
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from whisper_service.client.failure import ClientFailure, ExitCode, Refused, unreachable
from whisper_service.client.key import authorization
from whisper_service.client.sources import FRAME_SECONDS
from whisper_service.client.tape import Tape

Message = dict[str, Any]
Listener = Callable[[Message], None]

TEMPORARY = {"restarting", "stream_too_fast", "overloaded", "unavailable", "rate_limited"}
"""Errors that another connection, a little later, need not meet."""
_KEEPALIVE = 15.0
"""Seconds without audio after which the service is told that somebody is there; it waits 60."""
_CONNECT_TIMEOUT = 10.0
_FIRST_DELAY, _LAST_DELAY = 0.25, 4.0
"""Seconds between tries to connect again."""
_MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes; `done` carries the text of the whole stream, about 0.3 MB for four hours."""


class LiveStream:
    """Make it, then `run` it once."""

    def __init__(
        self, url: str, config: Message, tape: Tape, *, patience: float, key: str | None = None
    ) -> None:
        """`patience`: seconds to try to connect again after a break. `key`: an API key."""
        self._url = url
        self._headers = authorization(key)
        self._opening: Message = config
        self._tape = tape
        self._patience = patience
        self._has_begun = False
        self._broken_since: float | None = None
        self.n_resumed = 0

    async def run(self, listen: Listener) -> None:
        """Stream the tape to its end and hand over every message.

        Raises `ClientFailure`. After a break, the messages go on as if nothing had happened, a
        second `ready` aside.
        """
        delay = _FIRST_DELAY
        while True:
            try:
                return await self._converse(listen)
            except Refused as refusal:
                if refusal.error not in TEMPORARY:
                    raise
                problem: ClientFailure = refusal
                delay = max(delay, float(refusal.retry_after or 0))
            except (OSError, InvalidHandshake, ConnectionClosed) as error:
                problem = unreachable(self._url, error)
                if not self._has_begun:
                    raise problem from None
            now = time.monotonic()
            since = self._broken_since = self._broken_since or now
            if now - since > self._patience:
                raise problem
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LAST_DELAY)

    async def _converse(self, listen: Listener) -> None:
        """One connection, from its handshake to `done`."""
        try:
            connection = connect(
                self._url,
                additional_headers=self._headers,
                compression=None,
                max_size=_MAX_MESSAGE,
                open_timeout=_CONNECT_TIMEOUT,
            )
            async with connection as socket:
                await socket.send(json.dumps(self._opening))
                await self._exchange(socket, listen)
        except InvalidStatus as refusal:
            raise _refused(refusal) from None

    async def _exchange(self, socket: ClientConnection, listen: Listener) -> None:
        ready = await self._receive(socket)
        position = self._tape.position_of(ready["offset"])
        self.n_resumed += self._has_begun
        self._has_begun, self._broken_since = True, None
        self._keep(ready)
        listen(ready)
        sending = asyncio.create_task(self._send(socket, position))
        try:
            while True:
                message = await self._receive(socket)
                self._keep(message)
                listen(message)
                if message["type"] == "done":
                    return
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _receive(self, socket: ClientConnection) -> Message:
        message: Message = json.loads(await socket.recv())
        if message["type"] == "error":
            if resume := message.get("resume"):
                self._opening = {"resume": resume}
            raise Refused(message)
        return message

    def _keep(self, message: Message) -> None:
        """Remember where to go on, and let go of the audio before."""
        if resume := message.get("resume"):
            self._opening = {"resume": resume}
            final_until = float(message["end"] if "end" in message else message["offset"])
            self._tape.forget_before(self._tape.position_of(final_until))

    async def _send(self, socket: ClientConnection, position: int) -> None:
        step = self._tape.position_of(FRAME_SECONDS)
        while True:
            try:
                async with asyncio.timeout(_KEEPALIVE):
                    data = await self._tape.read(position, step)
            except TimeoutError:
                await socket.send('{"type": "keepalive"}')
                continue
            if not data:
                return await socket.send('{"type": "stop"}')
            await socket.send(data)
            position += len(data)


def _refused(refusal: InvalidStatus) -> ClientFailure:
    """The handshake itself was answered with a status; ours has the one JSON shape."""
    response = refusal.response
    try:
        fields = json.loads(response.body or b"")["error"]
    except (ValueError, KeyError, TypeError):
        return ClientFailure(
            f"The service answered {response.status_code} {response.reason_phrase}; is this the"
            " right address?",
            ExitCode.REFUSED,
        )
    return Refused({**fields, "retry_after": response.headers.get("Retry-After")})
