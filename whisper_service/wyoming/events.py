"""A client's events, read by the `wyoming` library within limits of size and time.

The library trusts the lengths that a client announces, and takes what it cannot read for the end of
the connection. Here an event has a most of bytes and seconds, and what is no event is an error.
"""

import asyncio
from typing import Any, cast

from wyoming.event import Event, async_read_event

from whisper_service.errors import IdleTimeout, InvalidMessage, PayloadTooLarge

MAX_EVENT_BYTES = 1024 * 1024
"""Of an event's data, and of its payload: 32 s of audio, where clients send 0.1 s. The line before
them has asyncio's limit, 64 KiB."""


class EventReader:
    """Reads one client's events, in order."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = _BoundedReader(reader)

    async def next(self, limit: float) -> Event | None:
        """Return the next event, or None after the last.

        `limit`: seconds within which it has to be there whole. Raises `IdleTimeout`,
        `InvalidMessage`, `PayloadTooLarge`, and `EOFError` if the client left inside of an event.
        """
        try:
            async with asyncio.timeout(limit):
                # the library calls nothing but the two methods of _BoundedReader
                event = await async_read_event(cast(asyncio.StreamReader, self._reader))
        except TimeoutError:
            raise IdleTimeout(f"No event came within {limit:g} s.", limit=limit) from None
        except (AttributeError, KeyError, TypeError, RecursionError):  # JSON, but of another shape
            raise _no_event() from None
        if event is None:
            if self._reader.has_ended:
                return None
            raise _no_event()
        data: Any = event.data  # what JSON had there
        if data is not None and not isinstance(data, dict):
            raise _no_event()
        return Event(event.type, data or {}, event.payload)


class _BoundedReader:
    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.has_ended = False

    async def readline(self) -> bytes:
        line = await self._reader.readline()
        self.has_ended = not line
        return line

    async def readexactly(self, n_bytes: int) -> bytes:
        if n_bytes > MAX_EVENT_BYTES:
            raise PayloadTooLarge(
                f"An event announces {n_bytes:,} bytes; allowed are {MAX_EVENT_BYTES:,}."
                " Send audio in shorter chunks.",
                max_bytes=MAX_EVENT_BYTES,
            )
        return await self._reader.readexactly(n_bytes)


def _no_event() -> InvalidMessage:
    return InvalidMessage(
        "This is no event of the Wyoming protocol: a line of JSON, an object with a `type`, of at"
        " most 64 KiB, then as many bytes as its `data_length` and `payload_length` say."
    )
