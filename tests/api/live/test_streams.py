"""What the streams of a replica share: one limit, one measure, whatever the protocol."""

import base64

import pytest
import soxr

from tests.api.fakes import connect
from tests.api.live.test_latency_meter import Memory
from tests.speech import speech
from whisper_service.api import metrics
from whisper_service.api.app import create_app
from whisper_service.api.live.streams import LiveStreams
from whisper_service.errors import Overloaded
from whisper_service.settings import Settings

SOCKETS = {
    "stream": {"path": "/stream"},
    "realtime": {"path": "/v1/realtime"},
    "listen": {"path": "/v1/listen", "query": "encoding=linear16&sample_rate=16000"},
}


def pcm16(rate: int) -> bytes:
    samples = soxr.resample(speech("en_eight"), 16_000, rate)
    return (samples.clip(-1, 1) * 32767).astype("<i2").tobytes()


@pytest.fixture
def memory():
    return Memory()


@pytest.mark.parametrize("protocol", SOCKETS)
async def test_one_limit_counts_the_streams_of_all_protocols(make_app, protocol):
    app = make_app(max_streams=1)
    async with connect(app, **SOCKETS[protocol]) as first:
        assert (await first.raw())["type"] == "websocket.accept"
        for other in SOCKETS.values():
            async with connect(app, **other) as second:
                assert (await second.raw())["status"] == 503


async def test_each_channel_that_is_decoded_apart_counts(make_app):
    query = f"{SOCKETS['listen']['query']}&channels=2&multichannel=true"
    async with connect(make_app(max_streams=1), path="/v1/listen", query=query) as socket:
        assert (await socket.raw())["status"] == 503


@pytest.mark.parametrize("protocol", SOCKETS)
async def test_a_replica_that_goes_away_takes_no_new_stream(make_app, protocol):
    async with connect(make_app(draining=lambda: True), **SOCKETS[protocol]) as socket:
        assert (await socket.raw())["status"] == 503


async def test_a_deepgram_request_is_measured(decoder, memory):
    app = create_app(Settings(), decoder, metrics=memory)
    async with connect(app, **SOCKETS["listen"]) as socket:
        assert (await socket.raw())["type"] == "websocket.accept"
        socket.send(pcm16(16_000))
        socket.send({"type": "CloseStream"})
        await socket.rest()
    assert_measured(memory, "listen")


async def test_a_realtime_session_is_measured(decoder, memory):
    app = create_app(Settings(), decoder, metrics=memory)
    async with connect(app, **SOCKETS["realtime"]) as socket:
        assert (await socket.raw())["type"] == "websocket.accept"
        audio = base64.b64encode(pcm16(24_000)).decode()
        socket.send({"type": "input_audio_buffer.append", "audio": audio})
        socket.send({"type": "input_audio_buffer.commit"})
        await socket.until("conversation.item.input_audio_transcription.completed")
    assert_measured(memory, "realtime")


def assert_measured(memory, protocol):
    labels = {"model": "base", "protocol": protocol}
    assert all(recorded == labels for _, _, recorded in memory.recorded)
    assert memory.of(metrics.ACTIVE_STREAMS) == [1, 0]
    assert memory.of(metrics.COMMIT)
    assert memory.of(metrics.FINAL_LAG)
    assert memory.of(metrics.LAG)


def test_a_stream_is_counted_with_the_model_it_uses(decoder, memory):
    streams = LiveStreams(Settings(), decoder, lambda: False, memory)
    with streams.open("realtime", "base", lambda: 0.0) as stream:
        stream.switch_model("base")
        stream.switch_model("small")
    counted = [(labels["model"], value) for _, value, labels in memory.recorded]
    assert counted == [("base", 1), ("base", 0), ("small", 1), ("small", 0)]


def test_late_streams_of_one_protocol_keep_out_those_of_another(decoder, memory):
    streams = LiveStreams(Settings(), decoder, lambda: False, memory)
    with (
        streams.open("stream", "base", lambda: 15.0),
        streams.open("listen", "base", lambda: 13.0),
        pytest.raises(Overloaded),
        streams.admit(),
    ):
        pass
