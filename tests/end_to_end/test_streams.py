"""Live streams to the running service: the same words as the file, none lost, none doubled."""

import asyncio
from itertools import pairwise

import httpx
import pytest

from tests.end_to_end.service import Service
from tests.end_to_end.spoken import path, pcm, spoken_words
from tests.end_to_end.stream_client import Message, finals, stream, words

pytestmark = pytest.mark.ray

BORDERS = [(chunk, overlap) for chunk in (1.0, 2.0, 5.0, 10.0) for overlap in (0.0, 0.5, 1.0)]
RECORDINGS = ("english", "commands", "german", "spanish")


def text_of(messages: list[Message]) -> list[str]:
    return words("".join(message["text"] for message in finals(messages)))


async def test_every_chunk_and_overlap_gives_the_words_of_the_file(service: Service) -> None:
    audio = pcm("english") + pcm("commands")
    expected = spoken_words("english") + spoken_words("commands")
    results = await asyncio.gather(
        *(
            stream(service.ws, audio, language="en", chunk_duration=chunk, overlap=overlap)
            for chunk, overlap in BORDERS
        )
    )
    got = {border: text_of(result) for border, result in zip(BORDERS, results, strict=True)}
    assert got == dict.fromkeys(BORDERS, expected)


async def test_finals_are_in_order_and_the_socket_ends_with_done(service: Service) -> None:
    messages = await stream(service.ws, pcm("english"), word_timestamps=True)
    assert [message["seq"] for message in messages] == list(range(len(messages)))
    assert messages[0]["type"] == "ready"
    assert messages[-1]["type"] == "done"
    assert messages[-1]["text"] == "".join(m["text"] for m in finals(messages)).strip()
    assert all(a["end"] <= b["start"] for a, b in pairwise(finals(messages)))


async def test_ten_files_and_ten_streams_at_once_are_not_mixed_up(service: Service) -> None:
    names = [RECORDINGS[i % len(RECORDINGS)] for i in range(10)]

    async def upload(client: httpx.AsyncClient, name: str) -> list[str]:
        answer = await client.post(
            f"{service.http}/transcribe", files={"file": path(name).read_bytes()}
        )
        return words(answer.json()["text"])

    async def live(name: str) -> list[str]:
        return text_of(await stream(service.ws, pcm(name)))

    async with httpx.AsyncClient(timeout=120) as client:
        got = await asyncio.gather(
            *(upload(client, name) for name in names), *(live(name) for name in names)
        )
    assert got == [spoken_words(name) for name in names * 2]
