"""What every socket does besides its protocol: run its loops, read, notice a drain."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from whisper_service.api.http.limits import MAX_MESSAGE_BYTES
from whisper_service.api.live.writer import SocketWriter
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

DRAIN_INTERVAL = 0.5
"""Seconds between two looks at whether the replica is going away; it has many to leave."""

Loop = Coroutine[Any, Any, None]


async def serve_socket(
    writer: SocketWriter, loops: list[Loop], on_failure: Callable[[ServiceError], None]
) -> None:
    """Run `loops` beside the writer until it has closed, or the first of them fails: `on_failure`
    gets the error, and has to close the writer. Raises `WebSocketDisconnect` if the client left."""
    try:
        async with task_group() as group:
            working = group.create_task(_run(loops, on_failure))
            await writer.run()
            working.cancel()
    finally:
        for loop in loops:
            loop.close()  # those of a client that left before they began; the others have ended


async def _run(loops: list[Loop], on_failure: Callable[[ServiceError], None]) -> None:
    try:
        async with task_group() as group:
            for loop in loops:
                group.create_task(loop)
    except WebSocketDisconnect:
        raise
    except ServiceError as error:
        on_failure(error)
    except Exception:  # the API's shell: a bug must not reach the client
        logger.exception("A stream failed")
        on_failure(InternalError())


async def next_message(
    socket: WebSocket, settings: Settings, may_be_silent: Callable[[], bool]
) -> Message:
    """The client's next message. One that waits for an answer `may_be_silent`.

    Raises `IdleTimeout`, `PayloadTooLarge`, and `WebSocketDisconnect` if there is no more.
    """
    limit, most = settings.stream_idle_timeout, MAX_MESSAGE_BYTES
    message = None
    while message is None:
        try:
            async with asyncio.timeout(limit):
                message = await socket.receive()
        except TimeoutError:
            if not may_be_silent():
                raise IdleTimeout(
                    f"Nothing was received for {limit:g} s; send audio or a keepalive message.",
                    limit=limit,
                ) from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    n_bytes = len(message.get("text") or message.get("bytes") or "")
    if n_bytes > most:
        raise PayloadTooLarge(
            f"A message has {n_bytes:,} bytes; allowed are {most:,}.", max_bytes=most
        )
    return message


async def watch_drain(draining: Callable[[], bool]) -> None:
    """Raises `Restarting` once the replica goes away."""
    while not draining():  # noqa: ASYNC110  Ray only has a flag, nothing to await
        await asyncio.sleep(DRAIN_INTERVAL)
    raise Restarting("This replica is going away; connect again.", retry_after=0)
