"""Home Assistant: its own Wyoming integration, before the bridge, without the rest of it.

    pip install homeassistant wyoming
    python -m whisper_service.wyoming --uri tcp://127.0.0.1:10300 --url http://localhost:8000 &
    python examples/home_assistant.py [WAV] [HOST] [PORT]

In Home Assistant itself: Settings, Devices & services, Add integration, Wyoming Protocol.
"""

import asyncio
import sys
import wave
from collections.abc import AsyncIterator
from types import SimpleNamespace

from homeassistant.components import stt
from homeassistant.components.wyoming.data import WyomingService
from homeassistant.components.wyoming.stt import WyomingSttProvider

FILE = sys.argv[1] if len(sys.argv) > 1 else "whisper_service/assets/sample.wav"
HOST = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
PORT = int(sys.argv[3]) if len(sys.argv) > 3 else 10300


async def frames() -> AsyncIterator[bytes]:
    """The file, 16 kHz mono of 16 bits, at its own pace."""
    with wave.open(FILE) as wav:
        while frame := wav.readframes(1600):
            yield frame
            await asyncio.sleep(0.1)


async def main() -> None:
    service = await WyomingService.create(HOST, PORT)
    if service is None:
        raise SystemExit(f"no Wyoming service answers at {HOST}:{PORT}")
    print(f"{service.get_name()}: {', '.join(model.name for model in service.info.asr[0].models)}")
    provider = WyomingSttProvider(SimpleNamespace(entry_id="example"), service)
    metadata = stt.SpeechMetadata(
        language="en",
        format=stt.AudioFormats.WAV,
        codec=stt.AudioCodecs.PCM,
        bit_rate=stt.AudioBitRates.BITRATE_16,
        sample_rate=stt.AudioSampleRates.SAMPLERATE_16000,
        channel=stt.AudioChannels.CHANNEL_MONO,
    )
    result = await provider.async_process_audio_stream(metadata, frames())
    print(f"{result.result}: {result.text}")


asyncio.run(main())
