"""A stream client for the tests, as a user would write it."""

import asyncio
import json
import time
from typing import Any

import websockets

FRAME_S = 0.2
BYTES_PER_SECOND = 2 * 16_000

Message = dict[str, Any]


async def stream(url: str, pcm: bytes, *, speed: float = 1.0, **config: Any) -> list[Message]:
    """Send 16 kHz pcm_s16le so many times as fast as a microphone would, or all at once
    (math.inf), and return every message up to the close."""
    async with websockets.connect(f"{url}/stream", compression=None) as socket:
        await socket.send(json.dumps(config))
        sender = asyncio.create_task(_send(socket, pcm, speed))
        messages = [json.loads(message) async for message in socket]
        await sender
    return messages


async def _send(socket: websockets.ClientConnection, pcm: bytes, speed: float) -> None:
    step = int(FRAME_S * BYTES_PER_SECOND)
    start = time.monotonic()
    for sent in range(0, len(pcm), step):
        due = start + sent / BYTES_PER_SECOND / speed
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        await socket.send(pcm[sent : sent + step])
    await socket.send(json.dumps({"type": "stop"}))


def finals(messages: list[Message]) -> list[Message]:
    """Return the final messages in the order they came."""
    return [message for message in messages if message["type"] == "final"]


def words(text: str) -> list[str]:
    """Spell a transcript as bare words, so that two can be compared."""
    return [word.strip(".,!?").lower() for word in text.split()]
