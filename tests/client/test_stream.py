"""The command `stream` against a real server, its connection whole and broken."""

import asyncio
import json

import pytest

from tests.client.conftest import running, wire
from tests.policy.world import Spoken, decode, synthesise, words_of
from whisper_service.client.cli import main
from whisper_service.client.failure import ClientFailure, Refused
from whisper_service.client.sources import to_s16le
from whisper_service.client.stream import LiveStream
from whisper_service.client.tape import Tape

PLAIN = ["--no-vad", "--chunk-duration", "1", "--overlap", "0", "--partial-interval", "0"]
CONFIG = {"chunk_duration": 1, "overlap": 0, "partial_interval": 0, "vad": False}


SCRIPT = [Spoken(0.4, 0.3)] * 30
"""30 words, 21 s; the decoder says which of them it was given whole."""


def tape_of_words() -> Tape:
    tape = Tape(16_000)
    tape.append(to_s16le(synthesise(SCRIPT)))
    tape.stop()
    return tape


def text_of(messages) -> str:
    return "".join(message["text"] for message in messages if message["type"] == "final")


def run(service, *arguments) -> int:
    return main(["stream", "--url", service.url, *map(str, arguments)])


def test_a_file_streams_to_text_on_standard_output(service, recording, capsys):
    assert run(service, recording(11), "--speed", 20, *PLAIN) == 0
    out = capsys.readouterr().out
    assert out == "level 11\n"


def test_the_settings_reach_the_service(service, recording):
    code = run(service, recording(11), "--speed", 20, "--model", "small", "--language", "German",
               "--task", "translate", "--prompt", "x", *PLAIN)  # fmt: skip
    assert code == 0
    options = service.decoder.jobs[0].options
    assert service.decoder.models_asked[0] == "small"
    assert (options.language, options.task, options.prompt) == ("de", "translate", "x")


@pytest.mark.parametrize("form", ["srt", "vtt", "tsv", "json", "txt"])
def test_the_result_can_be_a_file_of_any_format(service, recording, tmp_path, form, capsys):
    path = tmp_path / f"out.{form}"
    code = run(service, recording(11), "--speed", 20, "--format", form, "--output", path, *PLAIN)
    assert code == 0
    assert "level 11" in path.read_text()
    assert capsys.readouterr().out == ""
    if form == "json":
        assert json.loads(path.read_text())["duration"] == pytest.approx(1.0)


def test_a_refusal_is_told_in_the_services_words(service, recording, capsys):
    assert run(service, recording(11), "--language", "klingon") == 1
    assert "unknown_language" in capsys.readouterr().err


def test_a_service_that_is_not_there_is_told(recording, capsys):
    assert main(["stream", str(recording(11)), "--url", "http://127.0.0.1:9"]) == 3
    assert "No service answers at ws://127.0.0.1:9/stream" in capsys.readouterr().err


def test_no_audio_file_is_told(service, tmp_path, capsys):
    path = tmp_path / "a.txt"
    path.write_text("hello")
    assert run(service, path) == 4
    assert "cannot be decoded" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["a.wav", "--mic"], ["a.wav", "--speed", "0"]])
def test_wrong_arguments_are_refused(arguments):
    assert main(["stream", *arguments]) == 2


@pytest.mark.parametrize(
    ("arguments", "device"),
    [(["--mic"], "default"), (["--mic", "no:such"], "no:such"), (["--mic=no:such"], "no:such")],
)
def test_the_microphone_is_the_default_one_unless_it_is_named(service, arguments, device, capsys):
    assert run(service, *arguments, "--retry", 5) == 4
    assert f"The microphone {device!r} cannot be read" in capsys.readouterr().err


async def test_broken_connections_lose_double_and_renumber_nothing(service):
    service.decoder.answer = decode
    messages = []
    async with wire(service.port, 120_000, 0, 200_000) as carrier:
        url = f"ws://127.0.0.1:{carrier.port}/stream"
        stream = LiveStream(url, CONFIG, tape_of_words(), patience=20)
        await stream.run(messages.append)
    assert stream.n_resumed == 2
    assert text_of(messages).split() == words_of(SCRIPT)
    ids = [message["id"] for message in messages if message["type"] == "final"]
    assert ids == list(range(len(ids)))
    assert messages[-1]["duration"] == pytest.approx(0.5 + 30 * 0.7)


async def test_what_is_final_is_not_kept(service):
    service.decoder.answer = decode
    tape, messages = tape_of_words(), []
    stream = LiveStream(f"{service.url.replace('http', 'ws')}/stream", CONFIG, tape, patience=5)
    await stream.run(messages.append)
    assert text_of(messages).split() == words_of(SCRIPT)
    assert tape.n_kept < 32_000


async def test_a_connection_that_stays_away_is_given_up():
    with running() as service:
        async with wire(service.port, 40_000, *[0] * 1000) as carrier:
            url = f"ws://127.0.0.1:{carrier.port}/stream"
            stream = LiveStream(url, CONFIG, tape_of_words(), patience=1.0)
            with pytest.raises(ClientFailure) as failure:
                await stream.run(lambda message: None)
    assert failure.value.code == 3


async def test_a_full_service_is_asked_again_until_patience_ends():
    with running(max_streams=1) as service:
        url = f"ws://127.0.0.1:{service.port}/stream"
        first, began = Tape(16_000), asyncio.Event()
        holder = LiveStream(url, CONFIG, first, patience=0)
        holding = asyncio.create_task(holder.run(lambda message: began.set()))
        await began.wait()
        second = LiveStream(url, CONFIG, tape_of_words(), patience=0.0)
        with pytest.raises(Refused) as refusal:
            await second.run(lambda message: None)
        assert refusal.value.error == "overloaded"
        third = asyncio.create_task(
            LiveStream(url, CONFIG, tape_of_words(), patience=20).run(lambda message: None)
        )
        first.stop()
        await asyncio.gather(holding, third)
