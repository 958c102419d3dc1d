"""A checkpoint of OpenAI's that comes, comes slowly, damaged, in two tries, or not at all."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.models.web import WebServer, send, web_server
from whisper_service.models import openai_host
from whisper_service.models.lock import only_one
from whisper_service.models.openai_host import OpenAIHost
from whisper_service.models.progress import no_progress
from whisper_service.models.weight_files import FetchError

BODY = bytes(range(256)) * 4096
"""A megabyte; the server does not ask what a checkpoint is."""


def answer(handler: BaseHTTPRequestHandler) -> None:
    """As a store of files does: whole, or from the byte that is asked for."""
    asked = handler.headers.get("Range")
    if asked is None:
        return send(handler, BODY)
    begin = int(asked.removeprefix("bytes=").removesuffix("-"))
    if begin >= len(BODY):
        return send(handler, b"", 416)
    return send(handler, BODY[begin:], 206)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setitem(openai_host.SHA256, "tiny", hashlib.sha256(BODY).hexdigest())
    with web_server(answer) as server:
        yield server


def fetch(server: WebServer, folder: Path, timeout: float = 5.0) -> None:
    OpenAIHost(folder, server.url, timeout=timeout).fetch("tiny", no_progress)


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.suffix != ".lock")


def test_a_checkpoint_comes_whole_and_under_its_name(server: WebServer, tmp_path: Path) -> None:
    fetch(server, tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder" / "tiny.pt").read_bytes() == BODY
    assert files(tmp_path / "new" / "folder") == ["tiny.pt"]


def test_progress_is_told(server: WebServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    host = OpenAIHost(tmp_path, server.url, timeout=5)
    host.fetch("tiny", lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (len(BODY), len(BODY))


def test_a_broken_off_download_goes_on_where_it_was(server: WebServer, tmp_path: Path) -> None:
    def break_off(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        handler.wfile.write(BODY[:300_000])

    server.answer = break_off
    with pytest.raises(FetchError):
        fetch(server, tmp_path)
    had = (tmp_path / ".tiny.pt.part").stat().st_size
    server.answer = answer
    fetch(server, tmp_path)
    assert had > 0
    assert server.ranges == [None, f"bytes={had}-"]
    assert (tmp_path / "tiny.pt").read_bytes() == BODY


@pytest.mark.parametrize("part", [b"another file's beginning", BODY, BODY + b"and more"])
def test_what_an_earlier_try_left_does_no_harm(
    server: WebServer, tmp_path: Path, part: bytes
) -> None:
    (tmp_path / ".tiny.pt.part").write_bytes(part)
    fetch(server, tmp_path)
    assert (tmp_path / "tiny.pt").read_bytes() == BODY
    assert files(tmp_path) == ["tiny.pt"]


def test_a_damaged_download_is_thrown_away(server: WebServer, tmp_path: Path) -> None:
    server.answer = lambda handler: send(handler, b"<html>Please log in to this network</html>")
    with pytest.raises(FetchError, match="damaged"):
        fetch(server, tmp_path)
    assert files(tmp_path) == []


def test_a_body_without_end_is_given_up(
    server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_host, "_OVERHEAD", -2 * 37_184_640 + 1000)
    with pytest.raises(FetchError, match="more than the"):
        fetch(server, tmp_path)
    assert (tmp_path / ".tiny.pt.part").stat().st_size <= 1000 + 65536


@pytest.mark.parametrize("sent", [0, 1000])
def test_a_host_that_stays_silent_is_given_up(server: WebServer, tmp_path: Path, sent: int) -> None:
    def stall(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        handler.wfile.write(BODY[:sent])
        server.closing.wait(10)

    server.answer = stall
    with pytest.raises(FetchError, match=r"silent for 0\.3 s"):
        fetch(server, tmp_path, timeout=0.3)


def test_a_drip_is_given_up(server: WebServer, tmp_path: Path) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not server.closing.wait(0.02):
            handler.wfile.write(b"x")

    server.answer = drip
    with pytest.raises(FetchError, match="bytes came in 1 s"):
        fetch(server, tmp_path, timeout=1)


def test_an_error_of_the_host_is_told(server: WebServer, tmp_path: Path) -> None:
    server.answer = lambda handler: send(handler, b"", 503)
    with pytest.raises(FetchError, match="answered 503"):
        fetch(server, tmp_path)


def test_no_host_is_told(tmp_path: Path) -> None:
    host = OpenAIHost(tmp_path, "http://127.0.0.1:9", timeout=1)
    with pytest.raises(FetchError, match="refused"):
        host.fetch("tiny", no_progress)


def test_a_folder_that_cannot_be_written_is_told(server: WebServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FetchError):
        fetch(server, tmp_path / "file")


def test_two_replicas_bring_one_file(server: WebServer, tmp_path: Path) -> None:
    both = [threading.Thread(target=fetch, args=(server, tmp_path)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(server.paths) == 1
    assert files(tmp_path) == ["tiny.pt"]


def test_another_process_that_stands_still_is_not_waited_for(
    server: WebServer, tmp_path: Path
) -> None:
    with (
        only_one(tmp_path / "tiny.pt", lambda: 0, timeout=1),
        pytest.raises(FetchError, match="another process"),
    ):
        fetch(server, tmp_path, timeout=0.2)
    assert server.paths == []
