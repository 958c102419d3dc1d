"""/v1/realtime as the official client speaks it."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager

import openai
import pytest
import soxr
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.api.fakes import PATIENCE, say
from tests.speech import speech
from whisper_service.api.fronts.openai.secrets import ClientSecrets, InvalidSecret
from whisper_service.api.fronts.openai.transcription_session import TranscriptionSession
from whisper_service.errors import ModelUnavailable, Overloaded

QUERY = {"intent": "transcription"}
QUIET = b"\0\0" * 24_000
TRANSCRIPTION = "conversation.item.input_audio_transcription"
TURNS = "audio.input.turn_detection"


def spoken(name="en_eight", rate=24_000) -> bytes:
    """A recording as the client's default format, pcm16."""
    samples = soxr.resample(speech(name), 16_000, rate)
    return (samples.clip(-1, 1) * 32767).astype("<i2").tobytes()


def session(**heard):
    return {"type": "transcription", "audio": {"input": heard}}


MANUAL = session(turn_detection=None)


class Talk:
    """A conversation with the service, by the official client's connection."""

    def __init__(self, connection):
        self.connection = connection

    async def event(self):
        async with asyncio.timeout(PATIENCE):
            return await self.connection.recv()

    async def until(self, kind):
        """Every event up to one of `kind`, which is the last."""
        events = [await self.event()]
        while events[-1].type != kind:
            events.append(await self.event())
        return events

    async def update(self, fields):
        await self.connection.session.update(session=fields)
        return await self.event()

    async def hear(self, pcm):
        step = 24_000 * 2 // 5
        for start in range(0, len(pcm), step):
            part = base64.b64encode(pcm[start : start + step]).decode()
            await self.connection.input_audio_buffer.append(audio=part)


@pytest.fixture
def talk(make_openai):
    @asynccontextmanager
    async def open_session(query=QUERY, headers=None, key="any", **settings):
        url = make_openai(**settings).base_url
        async with (
            openai.AsyncOpenAI(base_url=url, api_key=key) as client,
            client.realtime.connect(extra_query=query, extra_headers=headers or {}) as connection,
        ):
            yield Talk(connection)

    return open_session


def kinds(events):
    return [event.type for event in events]


async def test_a_session_is_told_and_updated(talk):
    async with talk() as it:
        created = await it.event()
        assert created.type == "session.created"
        assert created.session.audio.input.turn_detection.silence_duration_ms == 500
        fields = session(transcription={"model": "small", "language": "de"})
        updated = await it.update(fields)
        assert updated.type == "session.updated"
        assert updated.session.audio.input.transcription.language == "de"
        assert updated.session.audio.input.format.rate == 24_000


async def test_a_pause_ends_a_turn_and_its_events_come_in_order(talk, decoder):
    decoder.answer = lambda job: say(job, " eight")
    async with talk() as it:
        await it.hear(spoken() + QUIET + QUIET)
        events = await it.until(f"{TRANSCRIPTION}.completed")
    assert kinds(events) == [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{TRANSCRIPTION}.delta",
        f"{TRANSCRIPTION}.completed",
    ]
    ids = {event.item.id if hasattr(event, "item") else event.item_id for event in events[1:]}
    assert len(ids) == 1
    assert events[-1].transcript == events[-2].delta == "eight"
    assert events[1].audio_start_ms < events[2].audio_end_ms
    assert len({event.event_id for event in events}) == len(events)


async def test_a_commit_ends_a_turn_and_items_are_chained(talk, decoder):
    decoder.answer = lambda job: say(job, " eight")
    async with talk() as it:
        await it.event()
        assert (await it.update(MANUAL)).session.audio.input.turn_detection is None
        first, second = [], []
        for events in (first, second):
            await it.hear(spoken())
            await it.connection.input_audio_buffer.commit()
            events += await it.until(f"{TRANSCRIPTION}.completed")
    assert kinds(first)[:3] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert (first[0].previous_item_id, second[0].previous_item_id) == (None, first[0].item_id)
    deltas = [event.delta for event in first if event.type == f"{TRANSCRIPTION}.delta"]
    assert "".join(deltas) == first[-1].transcript == "eight"
    assert first[-1].usage.type == "duration"


async def test_a_commit_ends_speech_that_goes_on(talk, decoder):
    decoder.answer = lambda job: say(job, " eight")
    async with talk() as it:
        await it.hear(spoken())
        await it.connection.input_audio_buffer.commit()
        events = await it.until(f"{TRANSCRIPTION}.completed")
    assert events[-1].transcript == "eight"
    assert kinds(events).count("input_audio_buffer.committed") == 1


async def test_a_turn_of_silence_is_empty(talk, decoder):
    async with talk() as it:
        await it.hear(QUIET)
        await it.connection.input_audio_buffer.commit()
        events = await it.until(f"{TRANSCRIPTION}.completed")
    assert events[-1].transcript == ""
    assert f"{TRANSCRIPTION}.delta" not in kinds(events)
    assert decoder.jobs == []


async def test_what_was_cleared_is_not_heard(talk, decoder):
    async with talk() as it:
        await it.event()
        await it.update(MANUAL)
        await it.hear(spoken())
        await it.connection.input_audio_buffer.clear()
        assert (await it.event()).type == "input_audio_buffer.cleared"
        await it.connection.input_audio_buffer.commit()
        error = (await it.event()).error
    assert error.code == "input_audio_buffer_commit_empty"


async def test_the_configuration_reaches_the_decoder(talk, decoder):
    async with talk() as it:
        await it.event()
        transcription = {"model": "small", "language": "de", "prompt": "Zahlen"}
        await it.update(session(transcription=transcription, turn_detection=None))
        await it.hear(spoken())
        await it.connection.input_audio_buffer.commit()
        await it.until(f"{TRANSCRIPTION}.completed")
    options = decoder.jobs[-1].options
    assert decoder.models_asked[-1] == "small"
    assert (options.language, options.prompt) == ("de", "Zahlen")


async def test_an_update_changes_only_what_it_names_and_null_clears(talk):
    async with talk() as it:
        await it.event()
        await it.update(session(transcription={"language": "de", "prompt": "Zahlen"}))
        updated = await it.update(session(transcription={"prompt": None}))
        transcription = updated.session.audio.input.transcription
        assert (transcription.language, transcription.prompt) == ("de", None)


@pytest.mark.parametrize("name", ["pcmu", "pcma"])
async def test_telephone_audio(talk, decoder, name):
    codes = {"pcmu": b"\xff", "pcma": b"\xd5"}
    async with talk() as it:
        await it.event()
        updated = await it.update(session(format={"type": f"audio/{name}"}, turn_detection=None))
        assert updated.session.audio.input.format.type == f"audio/{name}"
        await it.hear(codes[name] * 8000)
        await it.connection.input_audio_buffer.commit()
        events = await it.until(f"{TRANSCRIPTION}.completed")
    assert events[-1].usage.seconds == 1


# --- errors


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (session(turn_detection={"type": "server_vad", "threshold": "high"}), f"{TURNS}.threshold"),
        (session(turn_detection={"type": "manual"}), f"{TURNS}.type"),
        (session(transcription={"language": "klingon"}), "audio.input.transcription.language"),
        (session(format={"type": "audio/pcm", "rate": 16_000}), "audio.input.format"),
        ({"type": "realtime"}, "type"),
    ],
)
async def test_what_would_make_another_transcript_is_refused_by_its_path(talk, fields, param):
    async with talk() as it:
        await it.event()
        refused = await it.update(fields)
        assert refused.type == "error"
        assert refused.error.param == f"session.{param}"
        assert (await it.update(MANUAL)).type == "session.updated"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (session(noise_reduction={"type": "near_field"}), "audio.input.noise_reduction"),
        (session(turn_detection={"type": "semantic_vad", "eagerness": "low"}), f"{TURNS}.type"),
        (
            session(turn_detection={"type": "server_vad", "idle_timeout_ms": 5000}),
            f"{TURNS}.idle_timeout_ms",
        ),
        (session(transcription={"delay": "low"}), "audio.input.transcription.delay"),
        ({"type": "transcription", "include": [f"{TRANSCRIPTION}.logprobs"]}, "include"),
        ({"type": "transcription", "voice": "alloy"}, "voice"),
    ],
)
async def test_what_has_no_effect_is_told_and_the_rest_is_taken(talk, fields, param):
    async with talk() as it:
        await it.event()
        await it.update(session(transcription={"language": "de"}))
        updated = await it.update(fields)
        assert updated.type == "session.updated"
        (warning,) = updated.to_dict()["warnings"]
        assert warning["param"] == f"session.{param}"
        kept = updated.session.audio.input
        assert (kept.transcription.language, kept.turn_detection.type) == ("de", "server_vad")
        assert "warnings" not in (await it.update(session())).to_dict()


async def test_numbers_out_of_range_are_rounded_and_told(talk):
    turns = {
        "type": "server_vad",
        "threshold": 1,
        "silence_duration_ms": 20,
        "prefix_padding_ms": 0,
    }
    async with talk() as it:
        await it.event()
        updated = await it.update(session(turn_detection=turns, transcription={"language": "de"}))
    used = updated.session.audio.input.turn_detection
    assert (used.threshold, used.silence_duration_ms, used.prefix_padding_ms) == (0.95, 100, 0)
    assert updated.session.audio.input.transcription.language == "de"
    told = {warning["param"].split(".")[-1] for warning in updated.to_dict()["warnings"]}
    assert told == {"threshold", "silence_duration_ms"}


async def test_padding_is_part_of_what_is_told_to_be_speech(talk, decoder):
    starts = []
    for padding_ms in (0, 600):
        async with talk() as it:
            await it.event()
            turns = {"type": "server_vad", "prefix_padding_ms": padding_ms}
            await it.update(session(turn_detection=turns))
            await it.hear(QUIET + spoken() + QUIET)
            started = (await it.until("input_audio_buffer.speech_started"))[-1]
            starts.append(started.audio_start_ms)
    assert starts[0] - starts[1] == 600


async def test_with_a_higher_threshold_less_is_speech(talk):
    lasted = []
    for threshold in (0.1, 0.95):
        async with talk() as it:
            await it.event()
            await it.update(session(turn_detection={"type": "server_vad", "threshold": threshold}))
            await it.hear(QUIET + spoken() + QUIET)
            events = await it.until("input_audio_buffer.speech_stopped")
            lasted.append(events[-1].audio_end_ms - events[-2].audio_start_ms)
    assert lasted[1] < lasted[0]


async def test_words_and_languages_to_expect_reach_the_decoder(talk, decoder):
    async with talk() as it:
        await it.event()
        hints = {"keywords": ["KubeRay", " Serve"], "languages": ["de", "pt-BR"]}
        await it.update(session(transcription={**hints, "prompt": "A talk."}, turn_detection=None))
        await it.hear(spoken())
        await it.connection.input_audio_buffer.commit()
        await it.until(f"{TRANSCRIPTION}.completed")
    options = decoder.jobs[-1].options
    assert options.prompt == "A talk. KubeRay, Serve."
    assert options.allowed_languages == ("de", "pt")


async def test_an_unknown_model_leaves_the_session_as_it_was(talk):
    async with talk() as it:
        await it.event()
        refused = await it.update(session(transcription={"model": "gpt-realtime"}))
        assert refused.error.code == "model_not_found"
        kept = await it.update(MANUAL)
        assert kept.session.audio.input.transcription.model == "whisper-1"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.create", "event_id": "mine"},
        {"type": "input_audio_buffer.append", "audio": "!", "event_id": "mine"},
        {"type": "session.update", "event_id": "mine"},
        {"type": "input_audio_buffer.commit", "event_id": "mine"},
    ],
    ids=lambda event: event["type"],
)
async def test_a_bad_event_is_named_in_its_error_and_the_session_goes_on(talk, event):
    async with talk() as it:
        await it.event()
        await it.connection.send(event)
        assert (await it.event()).error.event_id == "mine"
        assert (await it.update(MANUAL)).type == "session.updated"


async def test_a_change_in_the_middle_of_a_turn_is_refused(talk):
    async with talk() as it:
        await it.event()
        await it.update(MANUAL)
        await it.hear(spoken())
        refused = await it.update(session(transcription={"language": "de"}))
        assert "commit or clear" in refused.error.message


async def test_a_turn_that_cannot_be_decoded_fails_and_the_next_does_not(talk, decoder):
    decoder.answer = lambda job: say(job, " eight")
    decoder.failures = [ModelUnavailable("Gone.")]
    async with talk() as it:
        await it.event()
        await it.update(session(turn_detection=None))
        for ending in ("failed", "completed"):
            decoder.gate.clear()
            await it.hear(spoken())
            await it.connection.input_audio_buffer.commit()
            await it.until("conversation.item.done")
            decoder.gate.set()
            last = (await it.until(f"{TRANSCRIPTION}.{ending}"))[-1]
            if ending == "failed":
                assert last.error.code == "model_unavailable"


async def test_a_full_decoder_is_tried_again(talk, decoder):
    decoder.answer = lambda job: say(job, " eight")
    decoder.failures = [Overloaded("Full.")]
    async with talk() as it:
        await it.hear(spoken() + QUIET)
        assert (await it.until(f"{TRANSCRIPTION}.completed"))[-1].transcript == "eight"


@pytest.mark.parametrize("name", ["call_id", "language"])
async def test_what_the_address_may_not_say_is_denied_by_name(talk, name):
    with pytest.raises(InvalidStatus) as refused:
        async with talk(query={**QUERY, name: "en"}):
            pass
    assert refused.value.response.status_code == 400
    assert json.loads(refused.value.response.body)["error"]["param"] == name


async def test_an_unknown_model_in_the_address_is_denied(talk):
    with pytest.raises(InvalidStatus) as refused:
        async with talk(query={"model": "gpt-realtime"}):
            pass
    assert refused.value.response.status_code == 404


async def test_a_silent_client_is_told_and_closed(talk):
    async with talk(stream_idle_timeout=0.05) as it:
        events = await it.until("error")
        assert events[-1].error.code == "idle_timeout"
        with pytest.raises(ConnectionClosed):
            await it.connection.recv_bytes()


async def test_who_waits_for_a_committed_turn_may_be_silent(talk, decoder):
    decoder.failures = [Overloaded("Full.")] * 3  # tried again after 1.75 s
    async with talk(stream_idle_timeout=1.0) as it:
        await it.hear(spoken())
        await it.connection.input_audio_buffer.commit()
        await it.until(f"{TRANSCRIPTION}.completed")


async def test_audio_that_nobody_decodes_ends_the_session(talk, decoder, monkeypatch):
    monkeypatch.setattr("whisper_service.api.live.driver.MAX_BACKLOG", 0.1)
    decoder.gate.clear()
    async with talk() as it:
        await it.event()
        await it.update(MANUAL)
        await it.hear(spoken() * 12)
        events = await it.until("error")
    assert events[-1].error.code == "stream_too_fast"


async def test_a_session_over_the_limit_is_denied(make_openai):
    url = make_openai(max_streams=1).base_url
    address = f"ws://{url.host}:{url.port}/v1/realtime"
    async with websockets.connect(address):
        with pytest.raises(InvalidStatus) as refused:
            async with websockets.connect(address):
                pass
    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["Retry-After"] == "2"


async def test_a_replica_that_goes_away_says_so(make_openai):
    going = asyncio.Event()
    url = make_openai(draining=going.is_set).base_url
    async with websockets.connect(f"ws://{url.host}:{url.port}/v1/realtime") as socket:
        await socket.recv()
        going.set()
        assert json.loads(await socket.recv())["error"]["code"] == "restarting"
        await socket.wait_closed()
        assert socket.close_code == 1012


# --- the older shape


async def test_the_older_shape_has_the_older_names(talk, decoder):
    decoder.answer = lambda job: say(job, " eight")
    async with talk(headers={"OpenAI-Beta": "realtime=v1"}) as it:
        assert (await it.event()).type == "transcription_session.created"
        flat = {
            "input_audio_format": "pcm16",
            "input_audio_transcription": {"model": "whisper-1", "language": "en"},
            "turn_detection": None,
        }
        await it.connection.send({"type": "transcription_session.update", "session": flat})
        updated = await it.event()
        assert updated.type == "transcription_session.updated"
        assert updated.session["input_audio_format"] == "pcm16"
        await it.hear(spoken())
        await it.connection.input_audio_buffer.commit()
        events = await it.until(f"{TRANSCRIPTION}.completed")
    assert "conversation.item.created" in kinds(events)
    assert "conversation.item.added" not in kinds(events)


async def test_a_flat_update_is_understood_without_a_header(talk):
    async with talk() as it:
        await it.event()
        await it.connection.send({"type": "session.update", "session": {"turn_detection": None}})
        updated = await it.event()
        assert updated.type == "session.updated"
        assert updated.session.to_dict()["turn_detection"] is None


# --- keys for browsers


async def test_a_client_secret_opens_its_session(talk, make_openai):
    client = make_openai(resume_key="shared")
    made = client.realtime.client_secrets.create(
        session=session(transcription={"language": "de"}),
        expires_after={"anchor": "created_at", "seconds": 60},
    )
    assert made.session.audio.input.transcription.language == "de"
    async with talk(key=made.value, resume_key="shared") as it:
        assert (await it.event()).session.audio.input.transcription.language == "de"


async def test_a_browser_brings_its_key_as_a_subprotocol(make_openai):
    client = make_openai()
    made = client.realtime.client_secrets.create(session=MANUAL)
    address = f"ws://{client.base_url.host}:{client.base_url.port}/v1/realtime"
    asked = ["realtime", f"openai-insecure-api-key.{made.value}"]
    async with websockets.connect(address, subprotocols=asked) as socket:
        assert socket.subprotocol == "realtime"
        created = json.loads(await socket.recv())
    assert created["session"]["audio"]["input"]["turn_detection"] is None


async def test_a_secret_of_others_is_denied(talk):
    with pytest.raises(InvalidStatus) as refused:
        async with talk(key="ek_made-up"):
            pass
    assert refused.value.response.status_code == 401


def test_a_secret_ends():
    secrets = ClientSecrets("key")
    secret = secrets.make(TranscriptionSession(), expires_at=1000)
    assert secrets.read(secret, now=999) == TranscriptionSession()
    with pytest.raises(InvalidSecret):
        secrets.read(secret, now=1000)


def test_a_secret_for_what_cannot_be_is_refused(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.realtime.client_secrets.create(session={"type": "realtime"})
    assert refused.value.param == "session.type"
