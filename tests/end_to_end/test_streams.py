"""Live streams to the running service: the same words as the file, none lost, none doubled."""

import asyncio
import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import httpx
import pytest

from tests import real
from tests.end_to_end.service import Service
from tests.end_to_end.spoken import pcm, spoken_words
from tests.end_to_end.stream_client import Message, finals, stream, words
from tests.end_to_end.word_errors import assert_right
from tests.real import CLIPS

pytestmark = pytest.mark.ray

BORDERS = [(chunk, overlap) for chunk in (1.0, 2.0, 5.0, 10.0) for overlap in (0.0, 0.5, 1.0)]
SHORT = ("clean-2", "other-2", "german-2", "telephone")


@pytest.fixture(scope="module")
def minute(service: Service) -> Iterator[Future[list[Message]]]:
    """The messages of a stream that goes on beside the tests before its own: a minute of speech,
    twice as fast."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(
            lambda: asyncio.run(
                stream(service.ws, real.pcm(CLIPS["live"]), speed=2.0, language="en")
            )
        )


def text_of(messages: list[Message]) -> str:
    return "".join(message["text"] for message in finals(messages))


async def test_every_chunk_and_overlap_gives_the_words_of_the_file(service: Service) -> None:
    """To the word, as the bundled model is sure of each wherever it is cut."""
    audio = pcm("english") + pcm("commands")
    expected = spoken_words("english") + spoken_words("commands")
    settings = {"model_size": "demo", "language": "en"}
    results = await asyncio.gather(
        *(
            stream(service.ws, audio, chunk_duration=chunk, overlap=overlap, **settings)
            for chunk, overlap in BORDERS
        )
    )
    got = {border: words(text_of(result)) for border, result in zip(BORDERS, results, strict=True)}
    assert got == dict.fromkeys(BORDERS, expected)


@pytest.mark.real
@pytest.mark.usefixtures("minute")
@pytest.mark.parametrize("name", ["clean-1", "other-1", "german-1", "telephone"])
async def test_a_stream_becomes_its_words(service: Service, name: str) -> None:
    clip = CLIPS[name]
    messages = await stream(service.ws, real.pcm(clip), speed=math.inf, language=clip.language)
    assert_right(clip, text_of(messages))


@pytest.mark.real
async def test_finals_are_in_order_and_the_socket_ends_with_done(service: Service) -> None:
    messages = await stream(service.ws, real.pcm(CLIPS["jfk"]), word_timestamps=True)
    assert [message["seq"] for message in messages] == list(range(len(messages)))
    assert messages[0]["type"] == "ready"
    assert messages[-1]["type"] == "done"
    assert messages[-1]["text"] == text_of(messages).strip()
    assert all(a["end"] <= b["start"] for a, b in pairwise(finals(messages)))


@pytest.mark.real
async def test_ten_files_and_ten_streams_at_once_are_not_mixed_up(service: Service) -> None:
    clips = [CLIPS[SHORT[i % len(SHORT)]] for i in range(10)]

    async def upload(client: httpx.AsyncClient, clip: real.Clip) -> str:
        form = {"language": clip.language}
        files = {"file": clip.path.read_bytes()}
        answer = await client.post(f"{service.http}/transcribe", files=files, data=form)
        return str(answer.json()["text"])

    async def live(clip: real.Clip) -> str:
        return text_of(await stream(service.ws, real.pcm(clip), language=clip.language))

    async with httpx.AsyncClient(timeout=120) as client:
        got = await asyncio.gather(
            *(upload(client, clip) for clip in clips), *(live(clip) for clip in clips)
        )
    for clip, text in zip(clips * 2, got, strict=True):
        assert_right(clip, text)


@pytest.mark.real
async def test_a_minute_of_somebody_who_reads_becomes_its_words(
    minute: Future[list[Message]],
) -> None:
    messages = await asyncio.wrap_future(minute)
    assert_right(CLIPS["live"], text_of(messages))
