import resource
import shutil
import subprocess
import sys

import pytest

from whisper_service.audio.ffmpeg import (
    DEMUXERS,
    decode_command,
    decode_environment,
    fence,
    find_ffmpeg,
)


def test_an_installed_ffmpeg_comes_first(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/somewhere/{name}")
    assert find_ffmpeg.__wrapped__() == "/somewhere/ffmpeg"


def test_a_machine_without_ffmpeg_uses_the_one_that_came_with_a_package(monkeypatch) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert find_ffmpeg.__wrapped__() == imageio_ffmpeg.get_ffmpeg_exe()


def test_every_container_on_the_list_exists() -> None:
    listed = subprocess.run([find_ffmpeg(), "-demuxers"], capture_output=True, text=True).stdout
    names = {name for line in listed.splitlines() for name in line.split()[1:2]}
    known = {part for name in names for part in name.split(",")}
    assert known >= set(DEMUXERS)


def test_the_input_is_a_number_and_never_a_name() -> None:
    command = decode_command("ffmpeg", 7)
    assert command[command.index("-i") + 1].endswith("/fd/7")
    assert command[command.index("-protocol_whitelist") + 1] == "file"


def test_no_secret_of_the_environment_is_passed_on(monkeypatch) -> None:
    monkeypatch.setenv("WHISPER_RESUME_KEY", "secret")
    monkeypatch.setenv("FFREPORT", "file=/tmp/report")
    assert set(decode_environment()) <= {"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")
def test_the_fence_holds_the_child_and_not_us() -> None:
    ours = resource.getrlimit(resource.RLIMIT_FSIZE)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        fence(child.pid, cpu_seconds=9.5)
        assert resource.prlimit(child.pid, resource.RLIMIT_FSIZE) == (0, 0)
        assert resource.prlimit(child.pid, resource.RLIMIT_CPU) == (10, 10)
        child.communicate(b"\n")
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == ours


def test_a_child_that_is_gone_already_needs_no_fence() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    fence(child.pid, cpu_seconds=1)
