"""OpenAI's client for Python: a Realtime transcription session of one turn.

pip install "openai[realtime]" soxr
python examples/openai_realtime.py [WAV] [URL]
"""

import asyncio
import base64
import sys
import wave

import numpy as np
import soxr
from openai import AsyncOpenAI

FILE = sys.argv[1] if len(sys.argv) > 1 else "whisper_service/assets/sample.wav"
URL = sys.argv[2] if len(sys.argv) > 2 else "http://localhost:8000"


def pcm_24k() -> bytes:
    """The file as the Realtime API takes it."""
    with wave.open(FILE) as wav:
        samples = np.frombuffer(wav.readframes(wav.getnframes()), np.int16)
        samples = soxr.resample(samples, wav.getframerate(), 24_000)
    return samples.astype("<i2").tobytes()


async def main() -> None:
    audio = pcm_24k()
    client = AsyncOpenAI(base_url=f"{URL}/v1", api_key="any")
    heard = {"transcription": {"model": "whisper-1", "language": "en"}, "turn_detection": None}
    async with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        await connection.session.update(
            session={"type": "transcription", "audio": {"input": heard}}
        )

        async def speak() -> None:
            for start in range(0, len(audio), 9_600):  # 0.2 s, as a microphone would
                frame = base64.b64encode(audio[start : start + 9_600]).decode()
                await connection.input_audio_buffer.append(audio=frame)
                await asyncio.sleep(0.2)
            await connection.input_audio_buffer.commit()

        speaking = asyncio.create_task(speak())
        async for event in connection:
            if event.type == "error":
                raise SystemExit(event.error.message)
            if event.type == "conversation.item.input_audio_transcription.completed":
                print(event.transcript.strip())
                break
        await speaking


asyncio.run(main())
