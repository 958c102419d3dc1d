"""The command `transcribe` against a real server."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.conftest import PATIENCE, running
from whisper_service.api.files import transcription
from whisper_service.audio.ffmpeg import FILE_ENDINGS, INPUT_FORMATS
from whisper_service.audio.vad import SileroDetector
from whisper_service.client import inputs
from whisper_service.client.cli import main
from whisper_service.client.display import Display
from whisper_service.client.inputs import Input
from whisper_service.client.transcribe import transcribe_input

ROOT = Path(__file__).parents[2]


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


def test_a_track_can_be_chosen_and_silence_decoded(service, recording, monkeypatch, capsys):
    assert run(service, recording(11), "--audio-track", 0) == 0
    assert run(service, recording(11), "--audio-track", 1) == 1
    assert "no audio track 1" in capsys.readouterr().err
    monkeypatch.setattr(transcription, "SileroDetector", SileroDetector)
    assert run(service, recording(11)) == 0
    assert capsys.readouterr().out == ""  # a level is no speech
    assert run(service, recording(11), "--no-vad") == 0
    assert capsys.readouterr().out == "level 11\n"


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
    assert answer["segments"][0]["language"] == "en"


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


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def recordings(recording, tmp_path):
    """Writes recordings into folders, each with a text of its own."""

    def make(*names: str):
        for number, name in enumerate(names, 11):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            recording(number, name=name)
        return [tmp_path / name for name in names]

    return make


def texts(folder):
    return {path.name: path.read_text().strip() for path in folder.iterdir()}


def test_results_of_one_name_never_overwrite_one_another(service, recordings, folder):
    names = ["a/talk.wav", "b/talk.mp3", "b/talk.wav", "c/Talk.mp3", "other.wav", "a-b/c", "a/b-c"]
    assert run(service, *recordings(*names), "--output", folder) == 0
    assert texts(folder) == {
        "a-talk.wav.txt": "level 11",
        "b-talk.mp3.txt": "level 12",
        "b-talk.wav.txt": "level 13",
        "c-Talk.mp3.txt": "level 14",
        "other.txt": "level 15",
        "c.txt": "level 16",
        "b-c.txt": "level 17",
    }


def test_results_are_named_by_their_endings_where_that_is_enough(service, recordings, folder):
    assert run(service, *recordings("talk.wav", "talk.mp3"), "--output", folder) == 0
    assert texts(folder) == {"talk.wav.txt": "level 11", "talk.mp3.txt": "level 12"}


def test_a_recording_that_is_named_twice_is_sent_once(service, recordings, folder, monkeypatch):
    (path,) = recordings("a.wav")
    monkeypatch.chdir(path.parent)
    assert run(service, path, "a.wav", "*.wav", "--output", folder) == 0
    assert len(service.decoder.jobs) == 1


def test_a_folder_is_the_recordings_in_it(service, recordings, folder, tmp_path):
    recordings("all/a.wav", "all/deep/b.MP3", "all/.hidden.wav", "all/.git/c.wav", "all/notes.txt")
    assert run(service, tmp_path / "all", "--output", folder) == 0
    assert texts(folder) == {"a.txt": "level 11", "b.txt": "level 12"}


def test_a_pattern_that_the_shell_left_alone_is_what_matches(service, recordings, folder, tmp_path):
    recordings("all/a.wav", "all/deep/b.wav", "all/[c].wav", "all/d.mp3")
    assert run(service, tmp_path / "all/**/*.wav", "--output", folder) == 0
    assert set(texts(folder)) == {"a.txt", "b.txt", "[c].txt"}
    assert run(service, tmp_path / "all/[c].wav") == 0


@pytest.mark.parametrize("name", ["none.wav", "empty", "*.xyz"])
def test_what_holds_no_recording_is_told_and_the_rest_goes_on(
    service, recordings, tmp_path, capsys, name
):
    (tmp_path / "empty").mkdir()
    assert run(service, tmp_path / name, *recordings("a.wav")) == 4
    said = capsys.readouterr()
    assert said.out == "level 11\n"
    assert f"error: {tmp_path / name}: " in said.err
    assert "1 of 2 done." in said.err


def test_a_bad_recording_is_told_and_the_rest_goes_on(service, recordings, folder, capsys):
    first, bad, last = recordings("a.wav", "bad.mp3", "c.wav")
    bad.write_text("nonsense")
    assert run(service, first, bad, last, "--format", "srt", "--output", folder) == 1
    assert set(texts(folder)) == {"a.srt", "c.srt"}
    said = capsys.readouterr()
    assert said.out == ""
    header, *rows, end = said.err.splitlines()[-5:]
    assert header.split() == ["file", "language", "length", "took", "result"]
    assert rows[0].split()[:3] == [str(first), "en", "0:00:01"]
    assert rows[0].endswith(str(folder / "a.srt"))
    assert "failed: The file cannot be decoded" in rows[1]
    assert "[undecodable_audio]" in rows[1]
    assert end == "2 of 3 done."


def test_what_would_fail_for_every_recording_is_tried_once(recordings, service, capsys):
    files = recordings("a.wav", "b.wav", "c.wav")
    assert main(["transcribe", *map(str, files), "--url", "127.0.0.1:9"]) == 3
    said = capsys.readouterr().err
    assert said.count("error: ") == 1
    assert said.count("not tried") == 2
    assert run(service, *files, "--model", "nothing") == 1
    assert capsys.readouterr().err.count("error: ") == 1


def test_several_documents_do_not_follow_one_another(service, recordings, capsys):
    assert run(service, *recordings("a.wav", "b.wav"), "--format", "srt") == 4
    assert "--output FOLDER" in capsys.readouterr().err
    assert service.decoder.jobs == []


def test_a_folder_that_is_not_there_is_told_before_any_work(service, recording, tmp_path, capsys):
    target = tmp_path / "none" / "a.txt"
    assert run(service, recording(11), "--output", target) == 4
    assert "there is no folder" in capsys.readouterr().err
    assert service.decoder.jobs == []


def test_one_recording_may_have_a_folder_for_its_result(service, recording, folder):
    assert run(service, recording(11), "--output", folder) == 0
    assert texts(folder) == {"a.txt": "level 11"}


@pytest.fixture
def command(service, tmp_path):
    """Runs a line of bash in which $TRANSCRIBE is the command."""

    def run(line: str, **more) -> subprocess.CompletedProcess:
        module = f"{sys.executable} -m whisper_service.client transcribe --url {service.url}"
        environment = {**os.environ, "TRANSCRIBE": module, "FILE": str(tmp_path / "a.wav")}
        return subprocess.run(
            ["bash", "-c", line],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
            **more,
        )

    return run


@pytest.mark.parametrize(
    "line",
    [
        "cat $FILE | $TRANSCRIBE -",
        "$TRANSCRIBE - < $FILE",
        "cat $FILE | $TRANSCRIBE /dev/stdin",
        "$TRANSCRIBE <(cat $FILE)",
        "mkfifo $FILE.pipe; cat $FILE > $FILE.pipe & $TRANSCRIBE $FILE.pipe",
    ],
)
def test_a_recording_may_come_through_a_pipe(command, recording, line):
    recording(*[11] * 60)  # more than a pipe holds
    done = command(line.replace("$TRANSCRIBE", "$TRANSCRIBE --format json"))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["duration"] == 60.0


def test_results_of_pipes_have_names(command, recording, folder):
    recording(11)
    done = command(f"cat $FILE | $TRANSCRIBE - <(cat $FILE) --output {folder}")
    assert done.returncode == 0, done.stderr
    assert "stdin.txt" in texts(folder)
    assert list(texts(folder).values()) == ["level 11"] * 2


def test_an_empty_pipe_is_an_empty_recording(command):
    done = command("true | $TRANSCRIBE -")
    assert done.returncode == 1
    assert "empty_audio" in done.stderr


def test_a_pipe_without_end_is_given_up(service, monkeypatch, capsys):
    monkeypatch.setattr(inputs, "MAX_PIPED_BYTES", 1_000_000)
    assert run(service, "/dev/zero") == 4
    assert "more than 1,000,000 bytes" in capsys.readouterr().err


def test_a_terminal_is_no_recording(service, capsys):
    controller, terminal = pty.openpty()
    assert run(service, os.ttyname(terminal)) == 4
    os.close(controller)
    os.close(terminal)
    assert "comes through a pipe" in capsys.readouterr().err


async def test_what_is_sent_is_told_as_it_goes(service, recording):
    out, quiet = io.StringIO(), Display(io.StringIO(), is_live=False)
    each = Input(recording(*[11] * 100))
    await transcribe_input(service.url, each, "a.wav", {}, quiet, Display(out, is_live=True))
    told = re.findall(r"a\.wav: sending (\d)\.\d of 3\.2 MB", out.getvalue())
    assert told == ["0", "1", "2", "3"]


def test_all_that_the_service_reads_is_found_in_a_folder():
    named = set(re.findall(r"[a-z0-9]+", INPUT_FORMATS)) - {"and", "the", "sound", "of"}
    assert named <= FILE_ENDINGS


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
