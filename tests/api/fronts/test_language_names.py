"""Languages as clients write them, on every protocol."""

import pytest

from tests.api.fakes import connect, level, wav
from tests.api.handshakes import shake
from whisper_service.languages import SCRIPT_PROMPTS

UPLOAD = {"file": ("a.wav", wav(level(7)))}
OPENAI = {"model": "whisper-1"}
LISTEN = "/v1/listen?encoding=linear16&sample_rate=16000&language="
ways = pytest.mark.parametrize(
    ("way", "code"),
    [
        ("pt-BR", "pt"),
        ("en_US", "en"),
        ("es-419", "es"),
        ("de-CH-1996", "de"),
        ("nb", "no"),
        ("jv", "jw"),
        ("fil", "tl"),
        ("iw", "he"),
        ("deu", "de"),
        ("Deutsch", "de"),
        ("zh-Hant-HK", "zh-Hant"),
        ("sr-Latn", "sr-Latn"),
        ("und", None),
    ],
)


@ways
@pytest.mark.parametrize("path", ["/transcribe", "/v1/audio/transcriptions"])
def test_files(client, decoder, path, way, code):
    fields = {"language": way} | (OPENAI if path.startswith("/v1") else {})
    answer = client.post(path, files=UPLOAD, data=fields)
    assert answer.status_code == 200, answer.text
    options = decoder.jobs[0].options
    assert options.language == (code and code.partition("-")[0])
    assert options.prompt == SCRIPT_PROMPTS.get(code)


@ways
async def test_streams(app, way, code):
    async with connect(app, {"language": way}) as socket:
        assert (await socket.receive())["config"]["language"] == code


@ways
async def test_realtime_sessions(app, way, code):
    session = {"input_audio_transcription": {"language": way}}
    update = {"type": "session.update", "session": session}
    async with connect(app, update, path="/v1/realtime") as socket:
        told = (await socket.until("session.updated"))["session"]
    assert told["input_audio_transcription"]["language"] == code


@ways
async def test_deepgrams_protocol(app, way, code):
    assert (await shake(app, LISTEN + way)).status == 101


@pytest.mark.parametrize("way", ["klingon", "xx-XX"])
async def test_what_is_none_is_told_with_all_codes(client, app, way):
    ours = client.post("/transcribe", files=UPLOAD, data={"language": way})
    openais = client.post("/v1/audio/transcriptions", files=UPLOAD, data=OPENAI | {"language": way})
    listen = await shake(app, LISTEN + way)
    messages = [answer.json()["error"]["message"] for answer in (ours, openais)]
    for message in (*messages, listen.body.decode()):
        assert f"'{way}' is not a language" in message
        assert " de " in message


def test_a_prompt_of_the_client_decides_the_script(client, decoder):
    client.post("/transcribe", files=UPLOAD, data={"language": "zh-TW", "prompt": "一二三"})
    assert decoder.jobs[0].options.prompt == "一二三"


def test_a_translation_is_asked_for_no_script(client, decoder):
    client.post("/transcribe", files=UPLOAD, data={"language": "zh-TW", "task": "translate"})
    assert (decoder.jobs[0].options.language, decoder.jobs[0].options.prompt) == ("zh", None)


def test_languages_to_choose_from_are_written_so_too(client, decoder):
    fields = {"allowed_languages": "pt-BR, zh-TW, zh-CN, Deutsch"}
    assert client.post("/transcribe", files=UPLOAD, data=fields).status_code == 200
    assert decoder.jobs[0].options.allowed_languages == ("pt", "zh", "de")
