"""Replicas that die and connections that break in mid-stream: every transcript stays whole."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.client.conftest import wire
from tests.end_to_end.service import Service
from tests.end_to_end.spoken import pcm, spoken_words
from tests.end_to_end.stream_client import Message, finals, stream, words
from whisper_service.client.stream import LiveStream
from whisper_service.client.tape import Tape

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(
        not Path("/proc/self/stat").exists(), reason="needs /proc to find a replica's process"
    ),
]

PAUSE = bytes(2 * 16_000)
KILLS, STREAMS = int(os.environ.get("KILLS", "3")), 4
"""`KILLS=10 pytest tests/end_to_end/test_faults.py` takes minutes."""
ROUNDS = KILLS
AUDIO = (pcm("english") + PAUSE) * ROUNDS
WORDS = spoken_words("english") * ROUNDS
CONFIG = {"model_size": "demo", "language": "en", "partial_interval": 0.5, "use_context": False}
"""Without context, so that a word depends on its own sound alone, not on where decodes began."""
REPLACEMENT_LIMIT_S = 90
"""Serve starts another replica, which imports torch and loads its model."""


async def new_replica(service: Service, old: int | None) -> int:
    async with asyncio.timeout(REPLACEMENT_LIMIT_S):
        while (pid := service.replica_pid("WhisperASR")) in (None, old):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert pid is not None
    return pid


async def kill_again_and_again(service: Service, speaking: asyncio.Future[list[Message]]) -> int:
    """Kill each replica as soon as it has had a moment to take work; return how many died."""
    pid, n_killed = None, 0
    while n_killed < KILLS and not speaking.done():
        pid = await new_replica(service, pid)
        await asyncio.sleep(1.0)
        os.kill(pid, signal.SIGKILL)  # as a crash, or a node that goes away
        n_killed += 1
    await new_replica(service, pid)
    return n_killed


async def test_a_replica_killed_in_mid_stream_loses_and_doubles_nothing(service: Service) -> None:
    speaking = asyncio.gather(*(stream(service.ws, AUDIO, **CONFIG) for _ in range(STREAMS)))
    n_killed = await kill_again_and_again(service, speaking)
    for messages in await speaking:
        assert words(messages[-1]["text"]) == WORDS
        assert [message["id"] for message in finals(messages)] == list(range(len(finals(messages))))
        assert messages[-1]["type"] == "done"
    assert n_killed >= 1


@pytest.mark.parametrize("breaks_after", [(150_000, 90_000), (40_000, 0, 300_000)])
async def test_a_broken_connection_loses_doubles_and_renumbers_nothing(
    service: Service, breaks_after: tuple[int, ...]
) -> None:
    tape, messages = Tape(16_000), list[Message]()
    tape.append(AUDIO)
    tape.stop()
    async with wire(service.port, *breaks_after) as carrier:
        url = f"ws://127.0.0.1:{carrier.port}/stream"
        live = LiveStream(url, CONFIG, tape, patience=30)
        await live.run(messages.append)
    assert live.n_resumed >= 1
    assert words("".join(message["text"] for message in finals(messages))) == WORDS
    assert [message["id"] for message in finals(messages)] == list(range(len(finals(messages))))
    assert messages[-1]["duration"] == pytest.approx(len(AUDIO) / 32_000, abs=0.01)
