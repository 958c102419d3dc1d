"""The official Deepgram client on the running service: only its address was changed."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from deepgram import DeepgramClient
from deepgram.environment import DeepgramClientEnvironment

from tests import real
from tests.audio.make import run_ffmpeg
from tests.end_to_end.service import Service
from tests.end_to_end.word_errors import assert_right

with warnings.catch_warnings():  # it asks websockets for names of its old days, once
    warnings.simplefilter("ignore", DeprecationWarning)
    import deepgram.listen.v1.client  # noqa: F401

pytestmark = [pytest.mark.ray, pytest.mark.real]

CLIP = real.CLIPS["clean-2"]
RAW = {"encoding": "linear16", "sample_rate": 16_000}


def listen(service: Service, audio: bytes, **query: Any) -> list[str]:
    places = {"base": service.http, "production": service.ws}
    places |= {"agent": service.ws, "agent_rest": service.http}
    environment = DeepgramClientEnvironment(**places)
    client = DeepgramClient(api_key="any", environment=environment)
    heard: list[str] = []
    with client.listen.v1.connect(model="whisper", **query) as socket:
        for start in range(0, len(audio), 6400):
            socket.send_media(audio[start : start + 6400])
        socket.send_close_stream()
        while (message := socket.recv()).type != "Metadata":
            if message.type == "Results" and message.is_final:
                heard += [word.word for word in message.channel.alternatives[0].words]
    return heard


def test_five_requests_at_once_have_the_words_of_the_recording(service: Service) -> None:
    audio = real.pcm(CLIP)
    with ThreadPoolExecutor(5) as threads:
        heard = list(threads.map(lambda _: listen(service, audio, **RAW), range(5)))
    for words in heard:
        assert_right(CLIP, " ".join(words))


@pytest.mark.parametrize("kind", ["webm", "ogg"])
def test_opus_in_a_container_has_the_words_of_the_recording(service: Service, kind: str) -> None:
    recording = run_ffmpeg("-i", CLIP.path, "-c:a", "libopus", "-f", kind, "-")
    assert_right(CLIP, " ".join(listen(service, recording)))
