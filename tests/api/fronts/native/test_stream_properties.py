"""Whatever a client sends, /stream answers in its own terms and ends."""

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api.fakes import FakeDecoder, connect, level
from whisper_service.api.app import create_app
from whisper_service.settings import Settings

CLOSE_CODES = {1000, 1003, 1007, 1008, 1009, 1013}
"""1011, a bug of ours, is not among them."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
configs = st.fixed_dictionaries(
    {},
    optional={
        "sample_rate": st.sampled_from([8000, 16_000, 44_100]),
        "encoding": st.sampled_from(["pcm_s16le", "pcm_f32le", "mulaw", "alaw"]),
        "channels": st.integers(1, 3),
        "chunk_duration": st.sampled_from([0.5, 1, 5.0]),
        "overlap": st.sampled_from([0, 0.3]),
        "partial_interval": st.sampled_from([0, 0.2]),
        "vad": st.booleans(),
        "word_timestamps": st.booleans(),
    },
)
commands = st.sampled_from([{"type": kind} for kind in ("finalize", "keepalive", "stop")])
noise = st.binary(max_size=2000) | st.text(max_size=30) | json_values.map(json.dumps)
audio = st.integers(1, 90).map(lambda number: level(number, 0.4))
good_first = configs | st.just({})


async def converse(messages, **fields):
    decoder = FakeDecoder()
    app = create_app(Settings(resume_key="k", **fields), decoder)
    async with connect(app) as socket:
        for message in messages:
            socket.send(message)
        socket.leave()
    answers = []
    while not socket.from_app.empty():
        answers.append(socket.from_app.get_nowait())
    assert decoder.n_now == 0
    return answers


def check(answers):
    accept, *rest = answers
    assert accept["type"] == "websocket.accept"
    if rest and rest[-1]["type"] == "websocket.close":
        assert rest.pop()["code"] in CLOSE_CODES
    told = [json.loads(answer["text"]) for answer in rest]
    assert [message["seq"] for message in told] == list(range(len(told)))
    assert "error" not in [message["type"] for message in told[:-1]]
    ends = [message["end"] for message in told if message["type"] == "final"]
    assert ends == sorted(ends)


@settings(max_examples=25)
@given(st.lists(noise | commands | audio, max_size=5))
def test_any_conversation_is_answered(messages):
    check(asyncio.run(converse(messages)))


@settings(max_examples=25)
@given(good_first, st.lists(noise | commands | audio, max_size=8))
def test_any_conversation_after_a_good_beginning_is_answered(first, messages):
    check(asyncio.run(converse([first, *messages])))


@settings(max_examples=15)
@given(good_first, st.lists(audio | st.binary(max_size=999), max_size=6))
def test_a_stopped_stream_always_says_done(first, frames):
    frames = [frame for frame in frames if frame]

    async def stopped():
        app = create_app(Settings(resume_key="k"), FakeDecoder())
        async with connect(app, first) as socket:
            for frame in frames:
                socket.send(frame)
            socket.send({"type": "stop"})
            return await socket.rest()

    *_, done, close = asyncio.run(stopped())
    assert (done["type"], close["code"]) == ("done", 1000)
