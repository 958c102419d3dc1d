"""The official OpenAI client on the running service: only its base URL was changed."""

import asyncio
import base64
import math
import os
import wave
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soxr

from tests import real
from tests.end_to_end.service import Service
from tests.end_to_end.stream_client import BYTES_PER_SECOND, finals, stream
from tests.end_to_end.test_deepgram import RAW, listen
from tests.end_to_end.word_errors import assert_right
from tests.real import CLIPS, Clip

pytestmark = [pytest.mark.ray, pytest.mark.real]

CLIP = CLIPS["clean-2"]

LONG_MINUTES = float(os.environ.get("LONG_MINUTES", "2"))
"""`LONG_MINUTES=60 pytest tests/end_to_end/test_openai.py -k long` takes minutes."""
PATIENCE = 1800
"""Seconds. A whole answer comes once, at the end; the client itself waits for 600."""
MANUAL: Any = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}


def pcm_24k(clip: Clip) -> bytes:
    """A recording as the Realtime API takes it."""
    samples = np.frombuffer(real.pcm(clip), np.int16)
    return bytes(soxr.resample(samples, 16_000, 24_000).astype("<i2").tobytes())


def transcribed(service: Service, file: Path, **form: str) -> str:
    """What /transcribe makes of a file."""
    url = f"{service.http}/transcribe"
    answer = httpx.post(url, files={"file": file.read_bytes()}, data=form, timeout=PATIENCE)
    return str(answer.json()["text"])


@pytest.fixture
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.http}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_the_words_are_those_of_transcribe(client: openai.OpenAI, service: Service) -> None:
    answer = client.audio.transcriptions.create(file=CLIP.path, model="whisper-1")
    assert answer.text == transcribed(service, CLIP.path)
    assert_right(CLIP, answer.text)


@pytest.fixture
def long_clip(tmp_path: Path) -> Clip:
    """`LONG_MINUTES` of several people who read English."""
    path, seconds, texts = tmp_path / "long.wav", 0.0, list[str]()
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        for clip in cycle(clip for clip in CLIPS.values() if clip.language == "en"):
            if seconds >= 60 * LONG_MINUTES:
                break
            audio = real.pcm(clip)
            out.writeframes(audio)
            texts.append(clip.text)
            seconds += len(audio) / BYTES_PER_SECOND
    return Clip(path, " ".join(texts), "en", seconds)


def test_a_long_file_has_the_words_of_transcribe(
    client: openai.OpenAI, service: Service, long_clip: Clip
) -> None:
    patient = client.with_options(timeout=PATIENCE).audio.transcriptions
    answer = patient.create(file=long_clip.path, model="whisper-1", language="en")
    assert answer.text == transcribed(service, long_clip.path, language="en")
    assert_right(long_clip, answer.text)


def test_a_long_file_is_streamed_to_its_end(client: openai.OpenAI, long_clip: Clip) -> None:
    *deltas, done = client.audio.transcriptions.create(
        file=long_clip.path, model="whisper-1", language="en", stream=True
    )
    assert done.text == "".join(event.delta for event in deltas)
    assert_right(long_clip, done.text)
    assert len(deltas) > 1  # as windows finish; those decoded side by side may come together


def test_words_have_times(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        file=CLIP.path,
        model="base",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert_right(CLIP, " ".join(word.word for word in answer.words))
    assert all(0 <= word.start <= word.end <= answer.duration for word in answer.words)


def test_models_are_listed_and_errors_are_typed(client: openai.OpenAI) -> None:
    assert {"whisper-1", "base", "demo"} <= {model.id for model in client.models.list()}
    with pytest.raises(openai.NotFoundError) as refused:
        client.audio.transcriptions.create(file=CLIP.path, model="gpt-4o-transcribe-diarize")
    assert refused.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        client.audio.transcriptions.create(file=("a.wav", b"no audio"), model="base")


async def realtime(service: Service, clip: Clip) -> str:
    """The words of one manual turn, by the official client."""
    async with (
        openai.AsyncOpenAI(base_url=f"{service.http}/v1", api_key="any") as client,
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        await connection.session.update(session=MANUAL)
        audio = pcm_24k(clip)
        for start in range(0, len(audio), 9600):
            part = base64.b64encode(audio[start : start + 9600]).decode()
            await connection.input_audio_buffer.append(audio=part)
        await connection.input_audio_buffer.commit()
        async for event in connection:
            assert event.type != "error", event
            if event.type == "conversation.item.input_audio_transcription.completed":
                return str(event.transcript)
    return ""


async def test_ten_sessions_of_three_protocols_at_once_have_the_words_of_the_recording(
    service: Service,
) -> None:
    async def ours() -> str:
        messages = await stream(service.ws, real.pcm(CLIP), language="en", speed=math.inf)
        return "".join(message["text"] for message in finals(messages))

    async def deepgram() -> str:
        return " ".join(await asyncio.to_thread(listen, service, real.pcm(CLIP), **RAW))

    sessions = [realtime(service, CLIP) for _ in range(4)]
    sessions += [deepgram() for _ in range(3)] + [ours() for _ in range(3)]
    for text in await asyncio.gather(*sessions):
        assert_right(CLIP, text)
