"""The bridge, driven by the `wyoming` library's own client."""

import asyncio
import json

import pytest
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from tests.api.fakes import level
from tests.client.conftest import running, wire
from tests.policy.world import Spoken, decode, synthesise, words_of
from whisper_service.client.sources import to_s16le
from whisper_service.wyoming import conversation

RATE = 16_000
SCRIPT = [Spoken(0.4, 0.3)] * 30
"""30 words, 21 s; the decoder says which of them it was given whole."""


def chunks(pcm: bytes, **form):
    """1024 samples each, as most clients cut them."""
    form = {"rate": RATE, "width": 2, "channels": 1, **form}
    n_bytes = 1024 * form["width"] * form["channels"]
    return [
        AudioChunk(audio=pcm[at : at + n_bytes], **form).event()
        for at in range(0, len(pcm), n_bytes)
    ]


async def say(client, pcm: bytes, request: Transcribe | None = None, **form) -> None:
    """One utterance, as Home Assistant sends it."""
    await client.write_event((request or Transcribe()).event())
    await client.write_event(
        AudioStart(**{"rate": RATE, "width": 2, "channels": 1, **form}).event()
    )
    for chunk in chunks(pcm, **form):
        await client.write_event(chunk)
    await client.write_event(AudioStop().event())


async def answer(client) -> list[Event]:
    """All events up to the end of a transcript, or of the connection."""
    events = []
    while event := await client.read_event():
        events.append(event)
        if TranscriptStop.is_type(event.type):
            break
    return events


async def transcript(client) -> Transcript:
    events = await answer(client)
    assert not [event.data for event in events if Error.is_type(event.type)]
    return Transcript.from_event(next(e for e in events if Transcript.is_type(e.type)))


async def error(client) -> Error:
    """The error that the connection ends with."""
    event = await client.read_event()
    assert event is not None
    assert Error.is_type(event.type), event
    assert await client.read_event() is None
    return Error.from_event(event)


async def test_an_utterance_is_transcribed(connected):
    async with connected() as client:
        await say(client, level(11))
        heard = await transcript(client)
    assert (heard.text, heard.language) == ("level 11", "en")


async def test_text_comes_in_pieces_that_join_to_the_whole(connected):
    async with connected() as client:
        await say(client, level(11, 20.0) + level(12, 2.0))
        events = await answer(client)
    kinds = [event.type for event in events]
    assert TranscriptStart.from_event(events[0]).language == "en"
    assert kinds[-2:] == ["transcript", "transcript-stop"]
    pieces = [TranscriptChunk.from_event(event).text for event in events[1:-2]]
    assert len(pieces) > 1
    assert "".join(pieces) == Transcript.from_event(events[-2]).text


async def test_text_of_a_long_utterance_comes_while_it_is_spoken(connected):
    async with connected() as client:
        for chunk in chunks(level(11, 20.0)):
            await client.write_event(chunk)
        assert TranscriptStart.is_type((await client.read_event()).type)
        piece = await client.read_event()
        assert TranscriptChunk.from_event(piece).text.startswith("level")


async def test_model_language_and_words_reach_the_service(connected, service):
    request = Transcribe(
        name="small",
        language="de",
        transcript_names=["Aiko", "Wohnzimmer"],
        transcript_terms=["lumen"],
    )
    async with connected() as client:
        await say(client, level(11), request)
        await transcript(client)
    options = service.decoder.jobs[0].options
    assert service.decoder.models_asked[0] == "small"
    assert (options.language, options.prompt) == ("de", "lumen, Aiko, Wohnzimmer")


async def test_the_bridges_own_model_and_language_stand_in(connected, service):
    async with connected(model="small", language="German") as client:
        await say(client, level(11))
        await transcript(client)
    assert service.decoder.models_asked[0] == "small"
    assert service.decoder.jobs[0].options.language == "de"


async def test_a_connection_takes_one_utterance_after_another_each_with_its_own_request(
    connected, service
):
    async with connected() as client:
        await say(client, level(11), Transcribe(language="de"))
        await say(client, level(12))
        assert (await transcript(client)).text == "level 11"
        assert (await transcript(client)).text == "level 12"
    languages = [job.options.language for job in service.decoder.jobs]
    assert languages[0] == "de"
    assert languages[-1] is None


@pytest.mark.parametrize(
    ("form", "pcm"),
    [
        ({"rate": 48_000}, level(11, 3.0)),
        ({"channels": 2}, level(11, 2.0)),
        ({"width": 1}, bytes([128 + 14]) * RATE),  # 8-bit wav is unsigned
        ({"width": 3}, (b"\0" + (3604).to_bytes(2, "little")) * RATE),
        ({"width": 4}, (b"\0\0" + (3604).to_bytes(2, "little")) * RATE),
        ({"rate": 96_000}, level(11, 6.0)),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
async def test_audio_of_any_format_is_heard(connected, form, pcm):
    async with connected() as client:
        await say(client, pcm, **form)
        assert (await transcript(client)).text == "level 11"


async def test_chunks_alone_are_enough(connected):
    async with connected() as client:
        for chunk in chunks(level(11)):
            await client.write_event(chunk)
        await client.write_event(AudioStop().event())
        assert (await transcript(client)).text == "level 11"


async def test_no_audio_is_no_text(connected):
    async with connected() as client:
        await say(client, b"")
        assert (await transcript(client)).text == ""


async def test_a_client_that_has_closed_its_half_is_answered(bridge, service):
    """As `cat events | nc` does."""
    async with bridge(service.url) as uri:
        reader, writer = await asyncio.open_unix_connection(uri.removeprefix("unix://"))
        sender = AsyncClient.from_uri(uri)
        sender._writer = writer
        await say(sender, level(11))
        writer.write_eof()
        async with asyncio.timeout(60):
            said = await reader.read()
        writer.close()
    assert b"level 11" in said


async def test_models_and_languages_are_told(connected):
    async with connected() as client:
        await client.write_event(Describe().event())
        info = Info.from_event(await client.read_event())
    (program,) = info.asr
    models = {model.name: model for model in program.models}
    assert list(models) == ["base", "base.en", "small"]  # `large` cannot be had here
    assert program.supports_transcript_streaming
    assert {"de", "en", "yue"} < set(models["base"].languages)
    assert models["base.en"].languages == ["en"]
    assert all(model.installed for model in models.values())


async def test_the_bridges_own_model_is_told_first(connected):
    async with connected(model="small") as client:
        await client.write_event(Describe().event())
        info = Info.from_event(await client.read_event())
    assert info.asr[0].models[0].name == "small"


async def test_a_ping_is_answered_and_an_unknown_event_let_go(connected):
    async with connected() as client:
        await client.write_event(Event("select-program", {"name": "whisper-streaming"}))
        await client.write_event(Ping("hello").event())
        assert Pong.from_event(await client.read_event()).text == "hello"


async def test_a_refusal_of_the_service_is_told_with_its_code(connected):
    async with connected() as client:
        await say(client, level(11), Transcribe(language="klingon"))
        refusal = await error(client)
    assert refusal.code == "unknown_language"
    assert "not a language" in refusal.text


async def test_a_service_that_is_not_there_is_told(connected):
    for request in (Describe(), AudioStart(RATE, 2, 1)):
        async with connected("http://127.0.0.1:9") as client:
            await client.write_event(request.event())
            if isinstance(request, AudioStart):
                await client.write_event(AudioStop().event())
            refusal = await error(client)
        assert refusal.code == "unavailable"
        assert "No service answers at" in refusal.text


async def test_another_server_at_that_address_is_told(connected):
    async def hello(reader, writer):
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        writer.close()

    server = await asyncio.start_server(hello, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with connected(url) as client:
            await client.write_event(Describe().event())
            assert "right address" in (await error(client)).text


async def test_the_key_opens_the_service(bridge):
    with running(api_keys=["a key of some length"]) as service:
        for key, code in (("a key of some length", None), ("another", "unauthorized")):
            async with bridge(service.url, key=key) as uri, AsyncClient.from_uri(uri) as client:
                await say(client, level(11))
                events = await answer(client)
            assert events[-1].data.get("code") == code


async def test_a_broken_connection_to_the_service_loses_nothing(bridge, service):
    service.decoder.answer = decode
    async with (
        wire(service.port, 120_000, 200_000) as carrier,
        bridge(f"http://127.0.0.1:{carrier.port}") as uri,
        AsyncClient.from_uri(uri) as client,
    ):
        await say(client, to_s16le(synthesise(SCRIPT)))
        heard = await transcript(client)
    assert carrier.n_connections == 3
    assert heard.text.split() == words_of(SCRIPT)


async def test_a_service_that_stays_away_is_told_after_patience(bridge, service):
    async with (
        wire(service.port, 150_000, *[0] * 1000) as carrier,
        bridge(f"http://127.0.0.1:{carrier.port}", patience=0.5) as uri,
        AsyncClient.from_uri(uri) as client,
    ):
        await say(client, level(11, 9.0))
        assert (await error(client)).code == "unavailable"


async def test_a_transcript_that_does_not_come_is_told(connected, service):
    service.decoder.gate.clear()
    async with connected(answer_timeout=0.5) as client:
        await say(client, level(11))
        assert (await error(client)).code == "timed_out"
    service.decoder.gate.set()


async def test_a_client_that_says_nothing_is_let_go(connected, monkeypatch):
    monkeypatch.setattr(conversation, "_IDLE", 0.3)
    async with connected() as client:
        await client.write_event(AudioStart(RATE, 2, 1).event())
        assert (await error(client)).code == "idle_timeout"


async def test_audio_beyond_the_limit_is_refused_and_the_rest_of_it_read(connected):
    async with connected(max_audio=2.0) as client:
        await say(client, level(11, 60.0))
        refusal = await error(client)
    assert refusal.code == "audio_too_long"
    assert "2 s" in refusal.text


async def test_connections_beyond_the_limit_are_refused_until_one_ends(bridge, service):
    async with bridge(service.url, max_connections=1) as uri:
        async with AsyncClient.from_uri(uri) as first:
            await first.write_event(Ping().event())
            await first.read_event()
            async with AsyncClient.from_uri(uri) as second:
                assert (await error(second)).code == "overloaded"
        while True:
            async with AsyncClient.from_uri(uri) as third:
                await third.write_event(Ping().event())
                if Pong.is_type((await third.read_event()).type):
                    break


async def test_a_client_that_leaves_takes_its_stream_with_it(bridge, service):
    with running(max_streams=1) as small:
        async with bridge(small.url) as uri:
            async with AsyncClient.from_uri(uri) as client:
                for chunk in chunks(level(11, 20.0)):
                    await client.write_event(chunk)
                assert TranscriptStart.is_type((await client.read_event()).type)
            async with AsyncClient.from_uri(uri) as client:
                await say(client, level(12))
                assert (await transcript(client)).text == "level 12"


def header(**fields) -> bytes:
    return json.dumps({"type": "audio-chunk", **fields}).encode() + b"\n"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "invalid_message"),
        (b"[1]\n", "invalid_message"),
        (b'{"data": {}}\n', "invalid_message"),
        (b'{"type": "ping", "data": 5}\n', "invalid_message"),
        (b'{"type": "ping", "data_length": "5"}\n', "invalid_message"),
        (b'{"type": "ping", "data_length": 1}\n5', "invalid_message"),
        (b"[" * 60_000 + b"\n", "invalid_message"),
        (b'{"type": "' + b"x" * 70_000 + b'"}\n', "invalid_message"),
        (header(payload_length=10**12), "payload_too_large"),
        (header(payload_length=4) + b"\0" * 4, "invalid_message"),  # no rate
        (header(data={"rate": 0, "width": 2, "channels": 1}), "invalid_parameter"),
        (header(data={"rate": "16000", "width": 2, "channels": 1}), "invalid_parameter"),
        (header(data={"rate": 16000, "width": 5, "channels": 1}), "invalid_parameter"),
        (header(data={"rate": 16000, "width": 2, "channels": 99}), "invalid_parameter"),
        (
            header(data={"rate": 16000, "width": 3, "channels": 1}, payload_length=4) + b"\0" * 4,
            "invalid_message",
        ),
        (
            b'{"type": "transcribe", "data": {"transcript_names": 5}}\n{"type": "audio-start"}\n',
            "invalid_message",
        ),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else value,
)
async def test_what_is_no_event_is_told_as_that(bridge, service, sent, code):
    async with bridge(service.url) as uri:
        reader, writer = await asyncio.open_unix_connection(uri.removeprefix("unix://"))
        client = AsyncClient.from_uri(uri, read_timeout=20)
        client._reader = reader
        writer.write(sent)
        assert (await error(client)).code == code
        writer.close()
