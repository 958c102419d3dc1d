import asyncio
import json

import httpx
import pytest

from tests.api.fakes import level, model, say, wav
from tests.audio.make import run_ffmpeg
from whisper_service.api.files import events, transcription
from whisper_service.api.files.transcription import NO_SPEECH
from whisper_service.audio.vad import SileroDetector
from whisper_service.errors import InternalError, ModelUnavailable, Overloaded

FORM = {"content-type": "multipart/form-data; boundary=x"}


def error_of(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()["error"]


def test_a_file_becomes_text(transcribe):
    assert transcribe().json() == {"text": "level 7", "language": "en", "duration": 1.0}


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("json", "application/json"),
        ("verbose_json", "application/json"),
        ("text", "text/plain; charset=utf-8"),
        ("srt", "application/x-subrip; charset=utf-8"),
        ("vtt", "text/vtt; charset=utf-8"),
        ("tsv", "text/tab-separated-values; charset=utf-8"),
    ],
)
def test_every_format_has_the_text_and_its_media_type(transcribe, name, media_type):
    response = transcribe(response_format=name)
    assert response.headers["content-type"] == media_type
    assert "level 7" in response.text


def test_a_long_file_keeps_its_segments_in_order(transcribe):
    pcm = b"".join(level(number, 30) for number in (11, 12, 13))
    body = transcribe(("a.wav", wav(pcm)), response_format="verbose_json").json()
    assert body["duration"] == 90.0
    ids = [segment["id"] for segment in body["segments"]]
    starts = [segment["start"] for segment in body["segments"]]
    assert ids == list(range(len(ids)))
    assert starts == sorted(starts)
    assert [body["text"].index(f"level {number}") for number in (11, 12, 13)] == sorted(
        body["text"].index(f"level {number}") for number in (11, 12, 13)
    )


def test_the_form_reaches_the_decoder(transcribe, decoder):
    transcribe(
        model_size="small",
        language="German",
        task="translate",
        prompt="Zahlen",
        temperature="0.4",
        word_timestamps="true",
        hallucination_silence_threshold="2",
    )
    options = decoder.jobs[0].options
    assert decoder.models_asked == ["small"]
    assert (options.language, options.task, options.prompt) == ("de", "translate", "Zahlen")
    assert (options.temperatures, options.timestamps) == ((0.4,), "word")
    assert options.hallucination_silence_threshold == 2.0


def test_empty_fields_mean_their_defaults(transcribe, decoder):
    names = ("model_size", "language", "task", "prompt", "temperature", "beam_size", "audio_track")
    assert transcribe(**dict.fromkeys(names, "")).status_code == 200
    options = decoder.jobs[0].options
    assert decoder.models_asked == ["base"]
    assert (options.language, options.prompt, options.beam_size) == (None, None, 5)
    assert options.temperatures[0] == 0.0
    assert len(options.temperatures) > 1


def test_auto_detects_the_language(transcribe, decoder):
    transcribe(language="auto")
    assert decoder.jobs[0].options.language is None


def test_words_are_told_when_asked_for(transcribe):
    body = transcribe(word_timestamps="true", response_format="verbose_json").json()
    assert [word["word"] for word in body["words"]] == ["level 7"]


def test_language_detection_tells_the_likeliest_ten(client):
    response = client.post("/detect-language", files={"file": ("a.wav", wav(level(1)))})
    body = response.json()
    assert (body["language"], body["name"], body["probability"]) == ("de", "german", 0.9)
    assert len(body["probabilities"]) == 10
    assert next(iter(body["probabilities"])) == "de"


@pytest.fixture
def two_tracks(tmp_path):
    """Silence of one second, then the level 7, as two tracks."""
    speech, path = tmp_path / "speech.wav", tmp_path / "two.mkv"
    speech.write_bytes(wav(level(7, 2)))
    silence = ("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono:d=1")
    run_ffmpeg(*silence, "-i", speech, "-map", "0", "-map", "1", "-c:a", "pcm_s16le", path)
    return "two.mkv", path.read_bytes()


def test_an_audio_track_can_be_chosen(transcribe, two_tracks):
    assert transcribe(two_tracks, audio_track="0").json()["duration"] == 1.0
    body = transcribe(two_tracks, audio_track="1").json()
    assert (body["text"], body["duration"]) == ("level 7", 2.0)


@pytest.mark.parametrize("path", ["/transcribe", "/detect-language"])
def test_a_track_that_the_file_lacks_is_refused(client, two_tracks, path):
    response = client.post(path, files={"file": two_tracks}, data={"audio_track": "2"})
    assert error_of(response, 422) == {
        "code": "invalid_parameter",
        "message": "The file has no audio track 2; allowed is 0 to 1.",
        "param": "audio_track",
        "got": 2,
        "allowed": "0 to 1",
    }


@pytest.mark.parametrize("track", ["-1", "first", "1.5"])
def test_a_track_that_is_no_number_is_refused(transcribe, track):
    assert error_of(transcribe(audio_track=track), 422)["param"] == "audio_track"


async def test_ten_files_at_once_are_not_mixed_up(app):
    transport = httpx.ASGITransport(app)

    async def post(client, number):
        files = {"file": ("a.wav", wav(level(number, 2)))}
        return (await client.post("/transcribe", files=files)).json()["text"]

    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        texts = await asyncio.gather(*(post(client, number) for number in range(10, 20)))
    assert texts == [f"level {number}" for number in range(10, 20)]


# --- bad input


def test_no_file_says_how_to_send_one(client):
    error = error_of(client.post("/transcribe", data={"language": "en"}), 422)
    assert error["code"] == "missing_file"
    assert "-F file=@" in error["message"]


def test_a_file_sent_as_text_is_no_file(client):
    error = error_of(client.post("/transcribe", data={"file": "audio.wav"}), 422)
    assert error["code"] == "missing_file"


def test_a_browser_form_without_a_chosen_file(client):
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n--x--\r\n'
    response = client.post("/transcribe", content=body, headers=FORM)
    assert error_of(response, 422)["code"] == "missing_file"


def test_an_empty_file(transcribe):
    assert error_of(transcribe(("a.wav", b"")), 422)["code"] == "empty_audio"


def test_a_text_file_named_wav(transcribe):
    error = error_of(transcribe(("a.wav", b"this is no audio at all\n" * 50)), 422)
    assert error["code"] == "undecodable_audio"


def test_audio_too_short_for_a_word(transcribe):
    error = error_of(transcribe(("a.wav", wav(level(5, 0.05)))), 422)
    assert error["code"] == "audio_too_short"


def test_audio_too_long(make_client):
    files = {"file": ("a.wav", wav(level(5, 3)))}
    error = error_of(make_client(max_audio_seconds=1).post("/transcribe", files=files), 413)
    assert error["code"] == "audio_too_long"


def test_an_unknown_model_names_the_known_ones(transcribe, decoder):
    error = error_of(transcribe(model_size="huge"), 422)
    assert (error["code"], error["param"], error["got"]) == (
        "unknown_model",
        "model_size",
        "huge",
    )
    assert error["allowed"] == ["whisper-1", "base", "base.en", "small"]
    assert decoder.jobs == []


def test_a_model_without_weights_says_where_to_put_them(transcribe):
    error = error_of(transcribe(model_size="large"), 503)
    assert error["code"] == "model_unavailable"
    assert "/models/large.pt" in error["message"]


@pytest.mark.parametrize("before", [[], [model("small", has_weights=False, can_download=False)]])
def test_a_model_that_has_just_been_added_is_there(transcribe, decoder, before):
    decoder.remembered = before
    assert transcribe(model_size="small").status_code == 200


def test_an_older_list_of_models_is_enough_to_begin_with(transcribe, decoder):
    decoder.remembered, decoder.known = decoder.known, []
    assert transcribe(model_size="small").status_code == 200


def test_an_unknown_language_is_named(transcribe):
    error = error_of(transcribe(language="klingon"), 422)
    assert (error["code"], error["got"]) == ("unknown_language", "klingon")
    assert "de" in error["allowed"]


def test_an_english_model_takes_no_other_language(transcribe):
    error = error_of(transcribe(model_size="base.en", language="de"), 422)
    assert (error["code"], error["allowed"]) == ("unknown_language", ["en"])


def test_an_english_model_does_not_translate(transcribe):
    error = error_of(transcribe(model_size="base.en", task="translate"), 422)
    assert error["param"] == "task"


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("task", "summarise", "'transcribe' or 'translate'"),
        ("beam_size", "11", "10 or less"),
        ("beam_size", "0", "1 or more"),
        ("beam_size", "five", "a whole number"),
        ("temperature", "1.5", "1 or less"),
        ("temperature", "-1", "0 or more"),
        ("temperature", "nan", "a finite number"),
        ("temperature", "hot", "a number"),
        ("word_timestamps", "maybe", "true or false"),
        ("stream", "2", "true or false"),
        ("response_format", "pdf", "'json', 'verbose_json', 'text', 'srt', 'vtt' or 'tsv'"),
    ],
)
def test_a_wrong_value_says_what_is_allowed(transcribe, field, value, allowed):
    error = error_of(transcribe(**{field: value}), 422)
    assert (error["code"], error["param"]) == ("invalid_parameter", field)
    assert error["allowed"] == allowed
    assert len(error["message"]) < 300


def test_an_unknown_field_is_refused_by_name(transcribe):
    error = error_of(transcribe(langauge="en"), 422)
    assert error["param"] == "langauge"
    assert "language" in error["allowed"]


@pytest.mark.parametrize(
    "fields",
    [
        {"beam_size": "5", "temperature": "0.5"},
        {"hallucination_silence_threshold": "2"},
        {"stream": "true", "response_format": "srt"},
    ],
)
def test_fields_that_contradict_each_other_are_refused(transcribe, fields):
    assert error_of(transcribe(**fields), 422)["param"] in fields


@pytest.mark.parametrize("body", [b"--y\r\nnonsense", b"--x\r\nno header\r\n\r\n", b"\xff" * 100])
def test_a_broken_form_is_no_crash(client, body):
    assert client.post("/transcribe", content=body, headers=FORM).status_code in (400, 422)


def test_a_form_without_its_boundary(client):
    headers = {"content-type": "multipart/form-data"}
    error = error_of(client.post("/transcribe", content=b"x", headers=headers), 400)
    assert error["code"] == "invalid_request"


def test_json_is_no_form(client):
    response = client.post("/transcribe", json={"file": "a.wav"})
    assert error_of(response, 422)["code"] == "missing_file"


def test_an_overloaded_decoder_says_when_to_come_back(transcribe, decoder):
    decoder.failures = [Overloaded("The queue is full.", retry_after=1.2)]
    response = transcribe()
    assert error_of(response, 503)["code"] == "overloaded"
    assert response.headers["retry-after"] == "2"


def test_weights_that_vanish_are_an_error_in_words(transcribe, decoder):
    decoder.failures = [ModelUnavailable("No weights.", model="base", path="/models/base.pt")]
    assert error_of(transcribe(), 503)["path"] == "/models/base.pt"


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_bug_is_logged_and_not_told(transcribe, decoder, caplog, stream):
    decoder.failures = [KeyError("a secret")]
    error = error_of(transcribe(stream=stream), 500)
    assert error == {"code": InternalError.code, "message": InternalError().message}
    assert "a secret" in caplog.text


# --- a client that leaves


class Upload:
    """A POST whose client can go away once the body was sent."""

    def __init__(self, app, **fields: str):
        self.app, self.messages, self.gone = app, [], asyncio.Event()
        request = httpx.Request(
            "POST",
            "http://test/transcribe",
            files={"file": ("a.wav", wav(level(3)))},
            data=fields,
        )
        self.body = request.read()
        self.headers = [(name.lower(), value) for name, value in request.headers.raw]

    async def receive(self):
        if self.body is not None:
            body, self.body = self.body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.messages.append(message)

    async def run(self):
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/transcribe",
            "query_string": b"",
            "headers": self.headers,
        }
        await self.app(scope, self.receive, self.send)


@pytest.mark.parametrize("stream", ["false", "true"])
async def test_a_client_that_leaves_costs_no_more_work(app, decoder, stream):
    decoder.gate.clear()
    upload = Upload(app, stream=stream)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(upload.run())
        await decoder.begun.acquire()
        upload.gone.set()
    assert (decoder.n_cancelled, decoder.n_now) == (1, 0)


async def test_a_client_that_leaves_in_mid_stream_costs_no_more_work(
    make_app, decoder, monkeypatch
):
    second = asyncio.Event()

    def answer(job):
        if len(decoder.jobs) > 1:
            second.set()
            decoder.gate.clear()
        return say(job, " x")

    decoder.answer = answer
    monkeypatch.setattr(transcription, "WINDOWS_IN_FLIGHT", 1)
    app = make_app()
    upload = Upload(app, stream="true")
    request = httpx.Request(
        "POST",
        "http://test/transcribe",
        files={"file": ("a.wav", wav(level(3, 150)))},
        data={"stream": "true"},
    )
    upload.body = request.read()
    upload.headers = [(name.lower(), value) for name, value in request.headers.raw]
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(upload.run())
        await second.wait()
        upload.gone.set()
    assert decoder.n_now == 0
    assert len(decoder.jobs) < 5


# --- events


def events_of(response):
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block.splitlines() for block in response.text.replace("\r", "").split("\n\n")]
    pairs = [dict(line.split(": ", 1) for line in block) for block in blocks if block]
    return [(pair["event"], json.loads(pair["data"])) for pair in pairs if "event" in pair]


def test_a_streamed_file_tells_language_segments_progress_and_the_end(transcribe):
    events = events_of(transcribe(stream="true"))
    names = [name for name, _ in events]
    assert names == ["language", "segment", "progress", "done"]
    done = events[-1][1]
    assert (done["text"], done["language"], done["task"]) == ("level 7", "en", "transcribe")


def test_streamed_segments_join_to_the_text(transcribe):
    pcm = b"".join(level(number, 30) for number in (11, 12, 13))
    events = events_of(transcribe(("a.wav", wav(pcm)), stream="true"))
    text = "".join(data["text"] for name, data in events if name == "segment")
    assert text.strip() == events[-1][1]["text"]


def test_progress_ends_at_the_duration(transcribe):
    events = events_of(transcribe(stream="true"))
    progress = [data for name, data in events if name == "progress"]
    assert progress[-1]["position"] == pytest.approx(1.0)
    assert progress[-1]["duration"] == pytest.approx(1.0)


def test_an_error_before_the_first_event_is_a_status(transcribe, monkeypatch):
    monkeypatch.setattr(events, "FIRST_WAIT", 30.0)  # ffmpeg begins late where cores are busy
    error = error_of(transcribe(("a.wav", b"no audio" * 99), stream="true"), 422)
    assert error["code"] == "undecodable_audio"


def test_an_error_after_it_is_an_event(make_client, decoder, monkeypatch):
    def answer(job):
        if len(decoder.jobs) > 1:
            raise Overloaded("The queue is full.")
        return say(job, " x")

    decoder.answer = answer
    files = {"file": ("a.wav", wav(level(3, 90)))}
    monkeypatch.setattr(transcription, "WINDOWS_IN_FLIGHT", 1)
    client = make_client()
    response = client.post("/transcribe", files=files, data={"stream": "true"})
    name, data = events_of(response)[-1]
    assert (response.status_code, name) == (200, "error")
    assert data["error"]["code"] == "overloaded"


@pytest.mark.parametrize("path", ["/transcribe", "/v1/audio/transcriptions"])
@pytest.mark.parametrize("name", ["prompt", "file"])
def test_a_field_given_twice_is_refused_by_name(client, decoder, path, name):
    part = ("a.wav", wav(level(7))) if name == "file" else (None, "words")
    parts = [("file", ("a.wav", wav(level(7)))), (name, part)]
    parts += [] if name == "file" else [(name, part)]
    response = client.post(path, files=parts)
    assert (response.status_code, response.json()["error"]["param"]) == (400, name)
    assert "2 times" in response.json()["error"]["message"]
    assert decoder.jobs == []


def test_a_list_may_have_several_values(client):
    parts = [("file", ("a.wav", wav(level(7)))), ("model", (None, "base"))]
    parts += [("response_format", (None, "verbose_json"))]
    parts += [("timestamp_granularities[]", (None, kind)) for kind in ("word", "segment")]
    assert client.post("/v1/audio/transcriptions", files=parts).status_code == 200


def test_a_body_that_is_no_form_has_to_be_small(client):
    response = client.post("/tokens", content=b"x" * (2**20 + 1))
    assert (response.status_code, response.json()["error"]["max_bytes"]) == (413, 2**20)
    assert "multipart/form-data" in response.json()["error"]["message"]


@pytest.mark.parametrize("languages", ["en, german", ["en", "de"], ["en,de", ""]])
def test_languages_to_choose_from_are_a_list_in_any_form(client, decoder, languages):
    files = {"file": ("a.wav", wav(level(7)))}
    answer = client.post("/transcribe", files=files, data={"allowed_languages": languages})
    assert answer.status_code == 200, answer.text
    assert decoder.jobs[0].options.allowed_languages == ("en", "de")


def test_a_language_to_choose_from_that_is_none_is_refused(transcribe):
    error = error_of(transcribe(allowed_languages="en,klingon"), 422)
    assert error["param"] == "allowed_languages"
    assert "de" in error["allowed"]


def test_speech_is_looked_for_unless_that_is_switched_off(client, decoder, monkeypatch):
    monkeypatch.setattr(transcription, "SileroDetector", SileroDetector)
    files = {"file": ("a.wav", wav(level(7)))}
    heard = client.post("/transcribe", files=files, data={"response_format": "verbose_json"})
    assert (heard.json()["text"], heard.json()["warnings"]) == ("", [NO_SPEECH])
    assert client.post("/transcribe", files=files, data={"vad_filter": "false"}).json()["text"]


def test_without_speech_no_language_is_detected(client, decoder, monkeypatch):
    monkeypatch.setattr(transcription, "SileroDetector", SileroDetector)
    answer = client.post("/detect-language", files={"file": ("a.wav", wav(level(7)))}).json()
    assert (answer["language"], answer["probabilities"]) == ("", {})
    assert answer["warnings"] == [NO_SPEECH]
