import asyncio
import json

import pytest

from tests.api.fakes import connect, level, say, wav
from tests.api.live.test_latency_meter import Memory
from tests.audio.make import run_ffmpeg
from whisper_service.api import metrics
from whisper_service.api.app import create_app
from whisper_service.errors import ModelUnavailable, Unavailable
from whisper_service.settings import Settings

PLAIN = {"chunk_duration": 1, "overlap": 0, "partial_interval": 0, "vad": False}
"""No partials, no pauses: audio, and finals of it after a second or a `finalize`."""


def finals(messages):
    return "".join(message["text"] for message in messages if message.get("type") == "final")


async def refused(app):
    """Connect until the first two have heard so much that a third is answered 503."""
    answer = {"type": "websocket.accept"}
    while answer["type"] == "websocket.accept":
        async with connect(app) as third:
            answer = await third.raw()
    assert (answer["type"], answer["status"]) == ("websocket.http.response.start", 503)
    assert dict(answer["headers"])[b"retry-after"] == b"5"


async def opening_error(app, first):
    """What a bad first message is answered with: the error, and the close."""
    async with connect(app, first) as socket:
        error, close = await socket.rest()
    assert (error["type"], error["seq"]) == ("error", 0)
    return error, close["code"]


# --- what works


async def test_ready_tells_the_configuration_as_understood(app):
    async with connect(app, {"language": "German", "model_size": "small"}) as socket:
        ready = await socket.receive()
    assert (ready["type"], ready["seq"], ready["offset"]) == ("ready", 0, 0)
    assert ready["session_id"]
    config = ready["config"]
    assert (config["language"], config["model_size"]) == ("de", "small")
    assert (config["chunk_duration"], config["prompt"]) == (5.0, None)


async def test_an_empty_configuration_is_enough(app):
    async with connect(app, "{}") as socket:
        assert (await socket.receive())["config"]["model_size"] == "base"


async def test_audio_becomes_finals_and_stop_ends_it(app, decoder):
    async with connect(app, PLAIN) as socket:
        socket.send(level(21))
        socket.send({"type": "finalize"})
        socket.send(level(22, 0.5))
        socket.send({"type": "stop"})
        *messages, done, close = await socket.rest()
    assert "level 21" in finals(messages)
    assert "level 22" in finals(messages)
    assert done["type"] == "done"
    assert done["duration"] == pytest.approx(1.5)
    assert done["text"].split() == ["level", "21", "level", "22"]
    assert close["code"] == 1000


async def test_seq_counts_up_by_one(app):
    async with connect(app, PLAIN) as socket:
        socket.send(level(1, 3))
        socket.send({"type": "stop"})
        *messages, _ = await socket.rest()
    assert [message["seq"] for message in messages] == list(range(len(messages)))


async def test_an_empty_binary_frame_means_stop(app):
    async with connect(app, PLAIN) as socket:
        socket.send(b"")
        *_, done, close = await socket.rest()
    assert (done["type"], close["code"]) == ("done", 1000)


async def test_finalize_flushes_and_goes_on(app):
    async with connect(app, {**PLAIN, "chunk_duration": 20}) as socket:
        socket.send(level(31))
        socket.send({"type": "finalize"})
        assert "level 31" in (await socket.until("final"))["text"]
        socket.send(level(32))
        socket.send({"type": "stop"})
        assert "level 32" in (await socket.until("final"))["text"]


async def test_frames_may_be_cut_inside_a_sample(app):
    pcm = level(41, 2)
    async with connect(app, PLAIN) as socket:
        for start in range(0, len(pcm), 999):
            socket.send(pcm[start : start + 999])
        socket.send({"type": "stop"})
        *messages, done, _ = await socket.rest()
    assert set(finals(messages).split()) == {"level", "41"}
    assert done["duration"] == pytest.approx(2.0)


async def test_half_a_sample_at_the_end_is_no_error(app):
    async with connect(app, PLAIN) as socket:
        socket.send(level(1) + b"\x01")
        socket.send({"type": "stop"})
        *_, done, close = await socket.rest()
    assert (done["type"], close["code"]) == ("done", 1000)


async def test_other_rates_are_resampled(app, decoder):
    async with connect(app, {**PLAIN, "sample_rate": 48_000}) as socket:
        socket.send(level(51, 6))  # made for 16 kHz, so it lasts two seconds
        socket.send({"type": "stop"})
        *messages, done, _ = await socket.rest()
    assert done["duration"] == pytest.approx(2.0, abs=0.02)
    assert "level 51" in finals(messages)


async def test_silence_is_no_error(app):
    async with connect(app, {"chunk_duration": 1}) as socket:
        socket.send(bytes(64_000))
        socket.send({"type": "stop"})
        *_, done, close = await socket.rest()
    assert (done["type"], done["text"], close["code"]) == ("done", "", 1000)


async def test_words_come_when_asked_for(app):
    async with connect(app, {**PLAIN, "word_timestamps": True}) as socket:
        socket.send(level(61))
        socket.send({"type": "stop"})
        final = await socket.until("final")
    assert final["words"][0].keys() == {"word", "start", "end", "probability"}


async def test_the_configuration_reaches_the_decoder(app, decoder):
    first = {**PLAIN, "model_size": "small", "language": "de", "task": "translate", "prompt": "x"}
    async with connect(app, first) as socket:
        socket.send(level(1))
        socket.send({"type": "stop"})
        await socket.until("done")
    job = decoder.jobs[0]
    assert decoder.models_asked[0] == "small"
    assert (job.options.language, job.options.task, job.options.prompt) == ("de", "translate", "x")
    assert job.priority == "final"


async def test_ten_streams_at_once_are_not_mixed_up(app):
    async def stream(number):
        async with connect(app, PLAIN) as socket:
            socket.send(level(number, 3))
            socket.send({"type": "stop"})
            return set(finals(await socket.rest()).replace("level", "").split())

    heard = await asyncio.gather(*(stream(number) for number in range(10, 20)))
    assert heard == [{str(number)} for number in range(10, 20)]


async def test_a_stream_resumes_where_its_last_final_ended(app, decoder):
    async with connect(app, PLAIN) as socket:
        ready = await socket.receive()
        socket.send(level(71))
        socket.send({"type": "finalize"})
        final = await socket.until("final")
    async with connect(app, {"resume": final["resume"]}) as socket:
        again = await socket.receive()
        socket.send(level(72))
        socket.send({"type": "stop"})
        later = await socket.until("final")
    assert again["session_id"] == ready["session_id"]
    assert again["config"] == ready["config"]
    assert (again["offset"], again["seq"]) == (pytest.approx(final["end"]), final["seq"] + 1)
    assert (later["id"], later["start"]) == (final["id"] + 1, pytest.approx(final["end"]))


async def test_another_replica_with_the_same_key_resumes_too(make_app):
    async with connect(make_app(), PLAIN) as socket:
        token = (await socket.receive())["resume"]
    async with connect(make_app(), {"resume": token}) as socket:
        assert (await socket.receive())["type"] == "ready"


# --- a bad first message


@pytest.mark.parametrize(
    ("first", "code", "close"),
    [
        (b"\x00\x00", "binary_before_config", 1003),
        (b"", "binary_before_config", 1003),
        ("{", "invalid_message", 1007),
        ("", "invalid_message", 1007),
        ("[1]", "invalid_message", 1007),
        ("NaN", "invalid_message", 1007),
        ('{"overlap": NaN}', "invalid_message", 1007),
        ("[" * 100_000, "invalid_message", 1007),
        ('{"sample_rate": ' + "9" * 5000 + "}", "invalid_message", 1007),
        ('{"chunk": 5}', "invalid_parameter", 1008),
        ('{"chunk_duration": 0.1}', "invalid_parameter", 1008),
        ('{"chunk_duration": 1e999}', "invalid_parameter", 1008),
        ('{"chunk_duration": "5"}', "invalid_parameter", 1008),
        ('{"chunk_duration": true}', "invalid_parameter", 1008),
        ('{"use_context": 1}', "invalid_parameter", 1008),
        ('{"sample_rate": 44100.5}', "invalid_parameter", 1008),
        ('{"sample_rate": 96000}', "invalid_parameter", 1008),
        ('{"channels": 0}', "invalid_parameter", 1008),
        ('{"encoding": "opus"}', "invalid_parameter", 1008),
        ('{"overlap": 5, "chunk_duration": 28}', "invalid_parameter", 1008),
        ('{"prompt": 5}', "invalid_parameter", 1008),
        ('{"prompt": "\\ud800"}', "invalid_parameter", 1008),
        ('{"\\ud800": 1}', "invalid_parameter", 1008),
        ('{"type": "stop"}', "invalid_parameter", 1008),
        ('{"language": "klingon"}', "unknown_language", 1008),
        ('{"language": 5}', "invalid_parameter", 1008),
        ('{"model_size": "huge"}', "unknown_model", 1008),
        ('{"model_size": "base.en", "language": "de"}', "unknown_language", 1008),
        ('{"model_size": "large"}', "model_unavailable", 1013),
        ('{"resume": "made up"}', "invalid_resume_token", 1008),
        ('{"resume": 5}', "invalid_parameter", 1008),
        ('{"resume": "x", "language": "en"}', "invalid_parameter", 1008),
    ],
)
async def test_a_bad_first_message_is_told_and_closed(app, first, code, close):
    error, closed = await opening_error(app, first)
    assert (error["code"], closed) == (code, close)
    assert len(error["message"]) < 500  # of languages, all codes


async def test_a_wrong_value_says_what_was_got_and_is_allowed(app):
    error, _ = await opening_error(app, '{"chunk_duration": 99}')
    assert (error["param"], error["got"], error["allowed"]) == ("chunk_duration", 99, "28 or less")


async def test_an_unknown_key_is_named_with_the_known_ones(app):
    error, _ = await opening_error(app, '{"langauge": "en"}')
    assert error["param"] == "langauge"
    assert "language" in error["allowed"]


async def test_whole_numbers_do_for_seconds(app):
    async with connect(app, '{"chunk_duration": 5, "overlap": 1}') as socket:
        assert (await socket.receive())["config"]["chunk_duration"] == 5.0


async def test_a_configuration_that_does_not_come_is_given_up(app, monkeypatch):
    monkeypatch.setattr("whisper_service.api.fronts.native.stream_route.CONFIG_TIMEOUT", 0.01)
    async with connect(app) as socket:
        assert (await socket.raw())["type"] == "websocket.accept"
        error, close = await socket.rest()
    assert (error["code"], close["code"]) == ("timed_out", 1008)


async def test_a_first_message_too_large_is_refused(app):
    first = json.dumps({"prompt": "x" * 2**20})
    error, close = await opening_error(app, first)
    assert (error["code"], close) == ("payload_too_large", 1009)


# --- trouble in mid-stream


@pytest.mark.parametrize("text", ["hello", "{}", '{"type": "dance"}', '{"type": 5}', "[]"])
async def test_text_that_is_no_command_ends_the_stream(app, text):
    async with connect(app, PLAIN) as socket:
        socket.send(text)
        *_, error, close = await socket.rest()
    assert (error["code"], close["code"]) == ("invalid_message", 1007)


async def test_a_command_with_more_in_it_is_refused(app):
    async with connect(app, PLAIN) as socket:
        socket.send({"type": "stop", "now": True})
        *_, error, _ = await socket.rest()
    assert (error["code"], error["param"]) == ("invalid_message", "now")


async def test_what_is_final_is_told_before_the_error(app, decoder):
    async with connect(app, PLAIN) as socket:
        socket.send(level(5, 2))
        await decoder.begun.acquire()
        socket.send("nonsense")
        *messages, error, _ = await socket.rest()
    assert [message["seq"] for message in [*messages, error]] == list(range(len(messages) + 1))


async def test_a_message_too_large_ends_the_stream(app):
    async with connect(app, PLAIN) as socket:
        socket.send(bytes(2**20 + 1))
        *_, error, close = await socket.rest()
    assert (error["code"], close["code"]) == ("payload_too_large", 1009)


async def test_a_client_that_says_nothing_is_let_go(make_app):
    async with connect(make_app(stream_idle_timeout=0.05), PLAIN) as socket:
        *_, error, close = await socket.rest()
    assert (error["code"], close["code"]) == ("idle_timeout", 1008)


async def test_a_stream_at_its_longest_is_flushed_and_ended(make_app):
    async with connect(make_app(max_stream_seconds=2), PLAIN) as socket:
        for _ in range(3):
            socket.send(level(81))
        *messages, error, close = await socket.rest()
    assert "level 81" in finals(messages)
    assert (error["code"], close["code"]) == ("audio_too_long", 1009)


async def test_a_stream_that_sends_too_fast_is_told_and_closed(app, decoder, monkeypatch):
    monkeypatch.setattr("whisper_service.api.live.driver.MAX_BACKLOG", 2)
    monkeypatch.setattr("whisper_service.api.live.driver.CATCH_UP", 0.05)
    decoder.gate.clear()
    async with connect(app, PLAIN) as socket:
        for _ in range(9):
            socket.send(level(1))
        *_, error, close = await socket.rest()
    assert (error["code"], close["code"]) == ("stream_too_fast", 1008)
    assert decoder.n_now == 0


async def test_reading_waits_for_a_decoder_that_catches_up(app, decoder, monkeypatch):
    monkeypatch.setattr("whisper_service.api.live.driver.MAX_BACKLOG", 2)
    async with connect(app, PLAIN) as socket:
        socket.send(level(1, 9))
        socket.send({"type": "stop"})
        *_, done, _ = await socket.rest()
    assert (done["type"], done["duration"]) == ("done", pytest.approx(9.0))


async def test_a_partial_in_flight_is_given_up_for_a_final(app, decoder):
    decoder.gate.clear()
    async with connect(app, {**PLAIN, "chunk_duration": 9, "partial_interval": 0.5}) as socket:
        socket.send(level(31))
        await decoder.begun.acquire()
        socket.send({"type": "finalize"})
        await decoder.begun.acquire()
        decoder.gate.set()
        final = await socket.until("final")
    assert "level 31" in final["text"]
    assert [job.priority for job in decoder.jobs] == ["live", "final"]
    assert decoder.n_cancelled == 1


async def test_falling_behind_is_said_once_and_nothing_is_lost(app, decoder, monkeypatch):
    monkeypatch.setattr("whisper_service.api.fronts.native.session.LAG_WARNING", 2)
    decoder.gate.clear()
    async with connect(app, PLAIN) as socket:
        for _ in range(6):
            socket.send(level(1))
        warning = await socket.until("warning")
        decoder.gate.set()
        socket.send({"type": "stop"})
        messages = await socket.rest()
    assert (warning["code"], warning["lag"] > 2) == ("falling_behind", True)
    assert not [message for message in messages if message["type"] == "warning"]
    assert messages[-2]["duration"] == pytest.approx(6.0)


async def test_a_decoder_that_comes_back_loses_nothing(app, decoder):
    decoder.failures = [Unavailable("The replica died."), Unavailable("Not yet.")]
    async with connect(app, PLAIN) as socket:
        socket.send(level(91))
        socket.send({"type": "stop"})
        *messages, done, _ = await socket.rest()
    assert "level 91" in finals(messages)
    assert done["type"] == "done"


async def test_a_decoder_that_stays_away_ends_the_stream(app, decoder, monkeypatch):
    monkeypatch.setattr("whisper_service.api.live.driver.RETRY_TIMEOUT", 0)
    decoder.failures = [Unavailable("The replica died.")] * 9
    async with connect(app, PLAIN) as socket:
        socket.send(level(1))
        socket.send({"type": "stop"})
        *_, error, close = await socket.rest()
    assert (error["code"], close["code"]) == ("unavailable", 1013)


async def test_weights_that_cannot_be_had_are_not_waited_for(app, decoder):
    decoder.failures = [ModelUnavailable("No weights.", model="base")]
    async with connect(app, PLAIN) as socket:
        socket.send(level(1))
        socket.send({"type": "stop"})
        *_, error, close = await socket.rest()
    assert (error["code"], close["code"]) == ("model_unavailable", 1013)
    assert len(decoder.jobs) == 1


async def test_a_bug_is_logged_and_not_told(app, decoder, caplog):
    decoder.failures = [KeyError("a secret")]
    async with connect(app, PLAIN) as socket:
        socket.send(level(1))
        socket.send({"type": "stop"})
        *_, error, close = await socket.rest()
    assert (error["code"], close["code"]) == ("internal_error", 1011)
    assert "secret" not in json.dumps(error)
    assert "a secret" in caplog.text


async def test_a_replica_that_goes_away_says_how_to_resume(make_app, monkeypatch):
    monkeypatch.setattr("whisper_service.api.live.socket.DRAIN_INTERVAL", 0.01)
    is_draining = False
    async with connect(make_app(draining=lambda: is_draining), PLAIN) as socket:
        socket.send(level(1))
        socket.send({"type": "finalize"})
        final = await socket.until("final")
        is_draining = True
        *_, error, close = await socket.rest()
    assert (error["code"], close["code"]) == ("restarting", 1012)
    assert error["offset"] == pytest.approx(final["end"])
    async with connect(make_app(), {"resume": error["resume"]}) as socket:
        assert (await socket.receive())["offset"] == pytest.approx(final["end"])


# --- admission


async def test_a_full_replica_refuses_before_the_handshake(make_app):
    app = make_app(max_streams=1)
    async with connect(app, PLAIN) as first:
        await first.receive()
        async with connect(app) as second:
            answer = await second.raw()
    headers = dict(answer["headers"])
    assert (answer["type"], answer["status"]) == ("websocket.http.response.start", 503)
    assert int(headers[b"retry-after"]) >= 1


async def test_a_place_is_free_again_after_a_stream(make_app):
    app = make_app(max_streams=1)
    for _ in range(3):
        async with connect(app, PLAIN) as socket:
            assert (await socket.receive())["type"] == "ready"


async def test_a_replica_that_goes_away_takes_no_new_stream(make_app):
    async with connect(make_app(draining=lambda: True)) as socket:
        assert (await socket.raw())["status"] == 503


# --- a client that leaves


async def test_leaving_before_the_configuration(app):
    async with connect(app) as socket:
        assert (await socket.raw())["type"] == "websocket.accept"


async def test_leaving_after_ready(app):
    async with connect(app, PLAIN) as socket:
        await socket.receive()


async def test_leaving_while_a_decode_is_in_flight_cancels_it(app, decoder):
    decoder.gate.clear()
    async with connect(app, PLAIN) as socket:
        socket.send(level(1, 3))
        await decoder.begun.acquire()
    assert (decoder.n_cancelled, decoder.n_now, len(decoder.jobs)) == (1, 0, 1)


async def test_leaving_after_stop_cancels_what_is_left(app, decoder):
    decoder.gate.clear()
    async with connect(app, PLAIN) as socket:
        socket.send(level(1, 3))
        socket.send({"type": "stop"})
        await decoder.begun.acquire()
    assert (decoder.n_cancelled, len(decoder.jobs)) == (1, 1)


async def test_leaving_while_the_decoder_is_away(app, decoder):
    decoder.failures = [Unavailable("The replica died.")] * 99
    async with connect(app, PLAIN) as socket:
        socket.send(level(1, 2))
        await decoder.begun.acquire()
    assert decoder.n_now == 0


async def test_a_client_that_does_not_read_is_let_go(make_app, decoder):
    app = make_app(stream_idle_timeout=0.05)

    async def deaf(message):
        if message["type"] == "websocket.send":
            await asyncio.Event().wait()

    messages = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": json.dumps(PLAIN)},
    ]

    async def receive():
        return messages.pop(0) if messages else await asyncio.Event().wait()

    scope = {"type": "websocket", "path": "/stream", "headers": [], "query_string": b""}
    async with asyncio.timeout(10):
        await app(scope, receive, deaf)


def test_the_decoder_says_its_script():
    # The other tests lean on this: the fake tells audio apart by how loud it is.
    import numpy as np

    from tests.api.fakes import FakeDecoder
    from whisper_service.types import DecodeJob

    job = DecodeJob(np.full(16_000, 0.25, np.float32))
    assert FakeDecoder().answer(job) == say(job, " level 25")


# --- containers


@pytest.fixture(scope="session")
def webm(tmp_path_factory):
    """Three seconds of a square wave, as a MediaRecorder would give them."""
    folder = tmp_path_factory.mktemp("webm")
    (folder / "a.wav").write_bytes(wav(level(20, 3)))
    wave = ("-i", folder / "a.wav", "-af", "tremolo=f=200:d=0.9")
    return run_ffmpeg(*wave, "-c:a", "libopus", "-f", "webm", "-")


async def test_a_container_is_decoded_to_the_same_length(app, decoder, webm):
    async with connect(app, {**PLAIN, "encoding": "container"}) as socket:
        for start in range(0, len(webm), 777):
            socket.send(webm[start : start + 777])
        socket.send({"type": "stop"})
        *messages, done, close = await socket.rest()
    assert (done["type"], close["code"]) == ("done", 1000)
    assert done["duration"] == pytest.approx(3.0, abs=0.1)
    assert finals(messages)
    assert sum(len(job.audio) for job in decoder.jobs) >= 2.9 * 16_000


async def test_a_container_that_is_none_is_refused(app):
    async with connect(app, {"encoding": "container"}) as socket:
        socket.send(b"this is no audio" * 1000)
        socket.send({"type": "stop"})
        *_, error, close = await socket.rest()
    assert (error["code"], close["code"]) == ("undecodable_audio", 1007)


async def test_a_client_that_leaves_leaves_no_ffmpeg(app, webm, no_child_left):
    async with connect(app, {"encoding": "container"}) as socket:
        await socket.receive()
        socket.send(webm)
        socket.leave()


async def test_stop_without_any_byte_of_a_container_is_no_error(app):
    async with connect(app, {"encoding": "container"}) as socket:
        socket.send({"type": "stop"})
        *_, done, close = await socket.rest()
    assert (done["type"], done["duration"], close["code"]) == ("done", 0, 1000)


async def test_a_container_too_many_is_refused(make_app, monkeypatch):
    monkeypatch.setattr("whisper_service.api.live.streams.MAX_CONTAINERS", 1)
    app = make_app()
    async with connect(app, {"encoding": "container"}) as first:
        await first.receive()
        async with connect(app, {"encoding": "container"}) as second:
            error, close = await second.rest()
    assert (error["code"], close["code"]) == ("overloaded", 1013)


async def test_a_resumed_container_begins_at_the_offset(app, webm):
    async with connect(app, {**PLAIN, "encoding": "container"}) as socket:
        socket.send(webm)
        socket.send({"type": "stop"})
        token = (await socket.until("final"))["resume"]
    async with connect(app, {"resume": token}) as socket:
        offset = (await socket.receive())["offset"]
        socket.send(webm)
        socket.send({"type": "stop"})
        *_, done, _ = await socket.rest()
    assert done["duration"] == pytest.approx(offset + 3.0, abs=0.1)


# --- metrics


async def test_a_stream_is_measured_by_its_model_and_protocol(decoder):
    memory = Memory()
    app = create_app(Settings(), decoder, metrics=memory)
    async with connect(app, {**PLAIN, "partial_interval": 0.5}) as socket:
        socket.send(level(20, 3))
        socket.send({"type": "stop"})
        await socket.until("done")
    labels = {"model": "base", "protocol": "stream"}
    assert all(recorded == labels for _, _, recorded in memory.recorded)
    assert memory.of(metrics.ACTIVE_STREAMS) == [1, 0]
    assert memory.of(metrics.COMMIT)
    assert len(memory.of(metrics.LAG)) == len(decoder.jobs)


def test_names_carry_their_unit_and_histograms_have_buckets():
    for measure in metrics.STREAM_MEASURES:
        assert measure.name.startswith("whisper_")
        assert measure.name.endswith("_seconds") == (measure.kind == "histogram")
        assert list(measure.buckets) == sorted(set(measure.buckets))
        assert bool(measure.buckets) == (measure.kind == "histogram")


# --- admission


async def test_streams_that_are_late_keep_others_out_before_the_handshake(app, decoder):
    decoder.gate.clear()
    async with connect(app, PLAIN) as first, connect(app, PLAIN) as second:
        for socket in (first, second):
            await socket.receive()
            socket.send(level(20, 13))
        for _ in range(2):
            await decoder.begun.acquire()
        await refused(app)
