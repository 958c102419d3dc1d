"""LiveKit's two speech plugins, pointed here with all their defaults."""

import asyncio
import warnings

import numpy as np
import pytest
from openai import AsyncOpenAI

from tests.api.fakes import PATIENCE, say
from tests.api.listening import listening
from tests.speech import speech

with warnings.catch_warnings():  # of the libraries' own
    warnings.simplefilter("ignore")
    reason = "LiveKit's plugins are missing: pip install -r requirements-examples.txt"
    agents = pytest.importorskip("livekit.agents", reason=reason)
    deepgram = pytest.importorskip("livekit.plugins.deepgram", reason=reason)
    openai = pytest.importorskip("livekit.plugins.openai", reason=reason)
    from livekit import rtc

RATE = 16_000


@pytest.fixture
def address(make_app, decoder):
    decoder.answer = lambda job: say(job, " Eight!")
    with listening(make_app()) as address:
        yield address


async def hear(stt) -> str:
    """Say "eight", and two seconds of nothing; the final text, once the end of speech is told."""
    samples = (speech("en_eight").clip(-1, 1) * 32767).astype("<i2")
    samples = np.concatenate([samples, np.zeros(2 * RATE, "<i2")])
    kinds, said = [], []
    async with (
        asyncio.timeout(PATIENCE),
        agents.utils.http_context.open(),
        stt,
        stt.stream() as stream,
    ):
        for start in range(0, len(samples), RATE // 50):
            part = samples[start : start + RATE // 50]
            stream.push_frame(rtc.AudioFrame(part.tobytes(), RATE, 1, len(part)))
        async for event in stream:
            kinds.append(event.type)
            if event.type is agents.stt.SpeechEventType.FINAL_TRANSCRIPT:
                said.append(event.alternatives[0].text)
            if said and agents.stt.SpeechEventType.END_OF_SPEECH in kinds:
                break
    assert kinds[0] is agents.stt.SpeechEventType.START_OF_SPEECH
    return " ".join(said)


async def test_openais_realtime(address, decoder):
    stt = openai.STT(base_url=f"http://{address}/v1", api_key="any", use_realtime=True)
    assert await hear(stt) == "Eight!"
    assert decoder.jobs[0].options.language == "en"
    assert set(decoder.models_asked) == {"base"}


async def test_openais_realtime_with_hints(address, decoder):
    hints = {"noise_reduction_type": "near_field", "prompt": "A digit.", "language": "pt-BR"}
    url = f"http://{address}/v1"
    stt = openai.STT(base_url=url, api_key="any", use_realtime=True, model="whisper-1", **hints)
    assert await hear(stt) == "Eight!"
    assert decoder.jobs[0].options.language == "pt"
    assert decoder.jobs[0].options.prompt == "A digit."


async def test_openais_files(address, decoder):
    samples = (speech("en_eight").clip(-1, 1) * 32767).astype("<i2")
    frame = rtc.AudioFrame(samples.tobytes(), RATE, 1, len(samples))
    async with (
        AsyncOpenAI(base_url=f"http://{address}/v1", api_key="any") as client,  # it closes none
        openai.STT(client=client) as stt,
    ):
        event = await stt.recognize(frame)
    assert event.alternatives[0].text == "Eight!"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"language": "multi", "smart_format": True, "numerals": True, "endpointing_ms": 10},
        {"keyterm": ["KubeRay", "Serve"], "tags": ["a", "b"], "utterance_end_ms": 1000},
    ],
    ids=str,
)
async def test_deepgram(address, decoder, options):
    stt = deepgram.STT(base_url=f"http://{address}/v1/listen", api_key="any", **options)
    assert await hear(stt) == "Eight!"
    assert decoder.jobs[0].options.language == (None if "language" in options else "en")
