"""The official OpenAI client on the running service: only its base URL was changed."""

import asyncio
import base64
import os
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soxr

from tests.end_to_end.service import Service
from tests.end_to_end.spoken import path, pcm, spoken_words
from tests.end_to_end.stream_client import finals, stream, words
from tests.end_to_end.test_deepgram import RAW, listen

pytestmark = pytest.mark.ray

LONG_MINUTES = float(os.environ.get("LONG_MINUTES", "2"))
"""`LONG_MINUTES=60 pytest tests/end_to_end/test_openai.py -k long` takes minutes."""
PATIENCE = 1800
"""Seconds. A whole answer comes once, at the end; the client itself waits for 600."""
MANUAL: Any = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}


@dataclass(frozen=True, slots=True)
class LongFile:
    """Where it is, and what is said in it."""

    path: Path
    words: list[str]


def pcm_24k(name: str) -> bytes:
    """A recording as the Realtime API takes it."""
    samples = np.frombuffer(pcm(name), np.int16)
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
    answer = client.audio.transcriptions.create(file=path("english"), model="whisper-1")
    assert answer.text == transcribed(service, path("english"))
    assert words(answer.text) == spoken_words("english")


@pytest.fixture
def long_file(tmp_path: Path) -> LongFile:
    """`LONG_MINUTES` of somebody who counts, and the words of it."""
    path = tmp_path / "long.wav"
    n_times = int(60 * LONG_MINUTES * 32_000 / len(pcm("english")))
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(pcm("english") * n_times)
    return LongFile(path, spoken_words("english") * n_times)


def test_a_long_file_has_the_words_of_transcribe(
    client: openai.OpenAI, service: Service, long_file: LongFile
) -> None:
    patient = client.with_options(timeout=PATIENCE).audio.transcriptions
    answer = patient.create(file=long_file.path, model="whisper-1", language="en")
    assert answer.text == transcribed(service, long_file.path, language="en")
    assert words(answer.text) == long_file.words


def test_a_long_file_is_streamed_to_its_end(client: openai.OpenAI, long_file: LongFile) -> None:
    *deltas, done = client.audio.transcriptions.create(
        file=long_file.path, model="whisper-1", language="en", stream=True
    )
    assert done.text == "".join(event.delta for event in deltas)
    assert words(done.text) == long_file.words
    assert len(deltas) > LONG_MINUTES


def test_a_stream_adds_up_to_its_words(client: openai.OpenAI) -> None:
    events = client.audio.transcriptions.create(
        file=path("english"), model="demo", language="en", stream=True
    )
    *deltas, done = events
    assert words("".join(event.delta for event in deltas)) == spoken_words("english")
    assert done.text == "".join(event.delta for event in deltas)


def test_words_have_times(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        file=path("english"),
        model="demo",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert [word.word.strip(".,").lower() for word in answer.words] == spoken_words("english")
    assert all(0 <= word.start <= word.end <= answer.duration for word in answer.words)


def test_models_are_listed_and_errors_are_typed(client: openai.OpenAI) -> None:
    assert {"whisper-1", "demo"} <= {model.id for model in client.models.list()}
    with pytest.raises(openai.NotFoundError) as refused:
        client.audio.transcriptions.create(file=path("english"), model="gpt-4o-transcribe")
    assert refused.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        client.audio.transcriptions.create(file=("a.wav", b"no audio"), model="demo")


async def realtime(service: Service, name: str) -> list[str]:
    """The words of one manual turn, by the official client."""
    async with (
        openai.AsyncOpenAI(base_url=f"{service.http}/v1", api_key="any") as client,
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        await connection.session.update(session=MANUAL)
        audio = pcm_24k(name)
        for start in range(0, len(audio), 9600):
            part = base64.b64encode(audio[start : start + 9600]).decode()
            await connection.input_audio_buffer.append(audio=part)
        await connection.input_audio_buffer.commit()
        async for event in connection:
            assert event.type != "error", event
            if event.type == "conversation.item.input_audio_transcription.completed":
                return words(event.transcript)
    return []


async def test_ten_sessions_of_three_protocols_at_once_have_the_words_of_transcribe(
    service: Service,
) -> None:
    async def ours() -> list[str]:
        messages = await stream(service.ws, pcm("english"), language="en", paced=False)
        return words("".join(message["text"] for message in finals(messages)))

    async def deepgram() -> list[str]:
        return await asyncio.to_thread(listen, service, pcm("english"), **RAW)

    text = await asyncio.to_thread(transcribed, service, path("english"))
    sessions = [realtime(service, "english") for _ in range(4)]
    sessions += [deepgram() for _ in range(3)] + [ours() for _ in range(3)]
    assert await asyncio.gather(*sessions) == [words(text)] * 10
