"""The command `transcribe` against a real server."""

import json

import pytest

from tests.client.conftest import running
from whisper_service.client.cli import main


def run(service, *arguments) -> int:
    return main(["transcribe", "--url", service.url, *map(str, arguments)])


def test_a_file_becomes_text_on_standard_output(service, recording, capsys):
    assert run(service, recording(11)) == 0
    assert capsys.readouterr() == ("level 11\n", "")


def test_the_fields_reach_the_service(service, recording):
    code = run(service, recording(11), "--model", "small", "--language", "de", "--beam-size", 3,
               "--temperature", 0, "--prompt", "x", "--task", "translate")  # fmt: skip
    assert code == 0
    options = service.decoder.jobs[0].options
    assert service.decoder.models_asked[0] == "small"
    assert (options.language, options.beam_size, options.temperatures) == ("de", 3, (0.0,))
    assert (options.prompt, options.task) == ("x", "translate")


@pytest.mark.parametrize(
    ("form", "begin"),
    [("srt", "1\n00:00:00,000"), ("vtt", "WEBVTT\n\n00:"), ("tsv", "start\tend"), ("txt", "level")],
)
def test_the_result_can_be_of_any_format(service, recording, capsys, form, begin):
    assert run(service, recording(11), "--format", form) == 0
    assert capsys.readouterr().out.startswith(begin)


def test_json_has_words_that_join_to_the_text(service, recording, capsys):
    assert run(service, recording(11), "--format", "json", "--word-timestamps") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["text"], answer["language"], answer["duration"]) == ("level 11", "en", 1.0)
    assert answer["words"][0]["word"] == "level 11"


def test_several_files_go_into_a_folder(service, recording, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    files = [recording(11, name="a.wav"), recording(12, name="b.wav")]
    assert run(service, *files, "--format", "srt", "--output", folder) == 0
    assert "level 11" in (folder / "a.srt").read_text()
    assert "level 12" in (folder / "b.srt").read_text()


def test_several_files_do_not_overwrite_one_another(service, recording, tmp_path, capsys):
    files = [recording(11, name="a.wav"), recording(12, name="b.wav")]
    assert run(service, *files, "--output", tmp_path / "one.txt") == 4
    assert "is no folder" in capsys.readouterr().err


def test_a_refusal_is_told_in_the_services_words(service, recording, capsys):
    assert run(service, recording(11), "--model", "nothing") == 1
    assert "unknown_model" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_told(service, tmp_path, capsys):
    assert run(service, tmp_path / "none.wav") == 4
    assert "No such file" in capsys.readouterr().err


def test_a_service_that_is_not_there_is_told(recording, capsys):
    assert main(["transcribe", str(recording(11)), "--url", "127.0.0.1:9"]) == 3
    assert "No service answers at http://127.0.0.1:9" in capsys.readouterr().err


def test_another_server_at_that_address_is_told(service, recording, capsys):
    assert main(["transcribe", str(recording(11)), "--url", f"{service.url}/elsewhere"]) == 1
    assert "not_found" in capsys.readouterr().err


def test_an_address_that_is_none_is_told(recording, capsys):
    assert main(["transcribe", str(recording(11)), "--url", "ftp://x"]) == 3
    assert "is no http address" in capsys.readouterr().err


def test_a_key_opens_what_asks_for_one(recording, capsys, monkeypatch):
    key = "a key for the client"
    with running(api_keys=key) as service:
        assert run(service, recording(11)) == 1
        assert "API key" in capsys.readouterr().err
        assert run(service, recording(11), "--key", key) == 0
        monkeypatch.setenv("WHISPER_CLIENT_KEY", key)
        assert run(service, recording(11)) == 0
        live = ["--url", service.url, "--speed", "100", "--no-vad"]
        assert main(["stream", str(recording(12)), *live]) == 0
        assert "level 12" in capsys.readouterr().out
