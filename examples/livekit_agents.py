"""LiveKit Agents: its OpenAI plugin (Realtime) and its Deepgram plugin, with their defaults.

    pip install livekit-agents livekit-plugins-openai livekit-plugins-deepgram
    python examples/livekit_agents.py [WAV] [URL]

In an agent, either goes into `AgentSession(stt=...)`.
"""

import asyncio
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import suppress

from livekit import rtc
from livekit.agents import stt, utils
from livekit.plugins import deepgram, openai

FILE = sys.argv[1] if len(sys.argv) > 1 else "whisper_service/assets/sample.wav"
URL = sys.argv[2] if len(sys.argv) > 2 else "http://localhost:8000"
QUIET = 20.0
"""Seconds without an event after which all has been said; in an agent, a stream has no end."""


async def frames() -> AsyncIterator[rtc.AudioFrame]:
    """The file at its own pace, as a room has it, and then silence without end."""
    with wave.open(FILE) as wav:
        rate = wav.getframerate()
        while True:
            data = wav.readframes(rate // 10) or bytes(2 * (rate // 10))
            yield rtc.AudioFrame(data, rate, 1, len(data) // 2)
            await asyncio.sleep(0.1)


async def transcribe(engine: stt.STT) -> None:
    """Print what an engine says of the file, until it has said nothing for a while."""
    clock = asyncio.get_running_loop().time
    async with engine.stream() as stream:

        async def speak() -> None:
            async for frame in frames():
                stream.push_frame(frame)

        speaking = asyncio.create_task(speak())
        with suppress(TimeoutError):
            async with asyncio.timeout(QUIET) as quiet:
                async for event in stream:
                    quiet.reschedule(clock() + QUIET)
                    if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                        print(f"{engine.label}: {event.alternatives[0].text.strip()}", flush=True)
        speaking.cancel()


async def main() -> None:
    async with utils.http_context.open():
        await transcribe(openai.STT(base_url=f"{URL}/v1", api_key="any", use_realtime=True))
        await transcribe(deepgram.STT(base_url=f"{URL}/v1/listen", api_key="any"))


asyncio.run(main())
