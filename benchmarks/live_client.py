"""Open-loop stream clients: audio goes out on an absolute schedule, whatever comes back.

A microphone does not wait for the service, so neither do these: a service that is late is late for
all that follows, and the figures say so.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from benchmarks.speech_track import BYTES_PER_SECOND, Track

FRAME_SECONDS = 0.2
_STAGGER = 0.37
"""Seconds between two clients' beginnings, so that they do not breathe in step."""
PATIENCE = 120.0
"""Seconds after the end of the audio in which the rest has to come."""


@dataclass(slots=True)
class Run:
    """One stream's messages, each with its arrival on the audio's own clock."""

    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    failure: str | None = None

    def of(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        return [(at, message) for at, message in self.messages if message["type"] == kind]

    @property
    def text(self) -> str:
        return "".join(message["text"] for _, message in self.of("final"))


async def run_streams(url: str, track: Track, n_streams: int, config: dict[str, Any]) -> list[Run]:
    """Stream the track `n_streams` times side by side, each beginning elsewhere in time."""
    began = asyncio.get_running_loop().time() + 1.0
    starts = [began + number * _STAGGER for number in range(n_streams)]
    return await asyncio.gather(*(stream(url, track.pcm, config, start) for start in starts))


async def stream(
    url: str,
    pcm: bytes,
    config: dict[str, Any],
    start: float,
    *,
    frame_seconds: float = FRAME_SECONDS,
) -> Run:
    """Stream 16 kHz mono s16le in real time; its first sample is spoken at `start`, by the event
    loop's clock."""
    run, clock = Run(), asyncio.get_running_loop().time
    try:
        async with (
            asyncio.timeout_at(start + len(pcm) / BYTES_PER_SECOND + PATIENCE),
            connect(f"{url}/stream", compression=None, open_timeout=30) as socket,
        ):
            await socket.send(json.dumps(config))
            sending = asyncio.create_task(_send(socket, pcm, start, frame_seconds))
            async for data in socket:
                run.messages.append((clock() - start, json.loads(data)))
            await sending
    except Exception as error:  # noqa: BLE001  a benchmark reports what went wrong and goes on
        run.failure = f"{type(error).__name__}: {error}"
    if run.messages and run.messages[-1][1]["type"] != "done":
        run.failure = run.failure or str(run.messages[-1][1])
    return run


async def _send(socket: ClientConnection, pcm: bytes, start: float, frame_seconds: float) -> None:
    clock, step = asyncio.get_running_loop().time, int(frame_seconds * BYTES_PER_SECOND)
    for sent in range(0, len(pcm), step):
        frame = pcm[sent : sent + step]
        # a frame exists when its last sample was spoken
        await asyncio.sleep(start + (sent + len(frame)) / BYTES_PER_SECOND - clock())
        await socket.send(frame)
    await socket.send('{"type": "stop"}')
