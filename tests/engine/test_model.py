"""Weights that are there, come, come damaged, or cannot come; from a server on this machine."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import whisper
from whisper.model import ModelDimensions, Whisper

from whisper_service.engine import catalog
from whisper_service.engine.engine import Engine, load_engine
from whisper_service.errors import ModelUnavailable

DIMS = ModelDimensions(80, 1500, 64, 1, 1, 51865, 448, 64, 1, 1)


def checkpoint() -> dict[str, object]:
    torch.manual_seed(0)
    return {"dims": vars(DIMS), "model_state_dict": Whisper(DIMS).half().state_dict()}


class Server:
    """Serves `body` as the official `tiny.pt`; `sent` is how much of it before it breaks off."""

    def __init__(self, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        self.body, self.sent = body, len(body)
        self.requests = 0
        self.stall = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        digest = hashlib.sha256(body).hexdigest()
        url = f"http://127.0.0.1:{self.http.server_port}/{digest}/tiny.pt"
        monkeypatch.setitem(whisper._MODELS, "tiny", url)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(server.body)))
                self.end_headers()
                self.wfile.write(server.body[: server.sent])
                if server.sent < len(server.body):
                    server.stall.wait(10)

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        return Handler


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    torch.save(checkpoint(), tmp_path / "published.pt")
    server = Server((tmp_path / "published.pt").read_bytes(), monkeypatch)
    # The heads of tiny do not exist in so small a model.
    monkeypatch.setitem(whisper._ALIGNMENT_HEADS, "tiny", None)
    monkeypatch.setattr(Whisper, "set_alignment_heads", lambda *_: None)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.stall.set()
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def load(name: str, folder: Path, *, can_download: bool = True, timeout: float = 5.0) -> Engine:
    return load_engine(
        name, folder, device="cpu", can_download=can_download, download_timeout=timeout
    )


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def test_download_is_checked_kept_and_not_repeated(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "new"
    assert load("tiny", folder).name == "tiny"
    assert load("tiny", folder, can_download=False).is_multilingual
    assert server.requests == 1
    assert left_behind(folder) == ["tiny.pt"]


def test_damaged_download_is_thrown_away(server: Server, tmp_path: Path) -> None:
    server.body = b"x" * len(server.body)
    with pytest.raises(ModelUnavailable, match="came damaged"):
        load("tiny", tmp_path / "models")
    assert left_behind(tmp_path / "models") == []


def test_download_that_stands_still_is_given_up(server: Server, tmp_path: Path) -> None:
    server.sent = 1000
    with pytest.raises(ModelUnavailable, match="timed out"):
        load("tiny", tmp_path / "models", timeout=0.2)
    assert left_behind(tmp_path / "models") == []


def test_no_network_says_where_the_file_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(whisper._MODELS, "tiny", "http://127.0.0.1:9/0/tiny.pt")
    with pytest.raises(ModelUnavailable) as caught:
        load("tiny", tmp_path)
    assert str(tmp_path / "tiny.pt") in caught.value.message
    assert caught.value.details == {"model": "tiny", "path": str(tmp_path / "tiny.pt")}


def test_downloads_can_be_forbidden(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="not downloaded"):
        load("tiny", tmp_path / "models", can_download=False)
    assert server.requests == 0


def test_folder_that_cannot_be_written_is_said(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelUnavailable, match="cannot be downloaded"):
        load("tiny", tmp_path / "file")


def test_another_file_under_an_official_name_is_refused_and_kept(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "tiny.pt").write_bytes(b"my own model")
    with pytest.raises(ModelUnavailable, match="damaged or another model"):
        load("tiny", tmp_path)
    assert (tmp_path / "tiny.pt").read_bytes() == b"my own model"
    assert server.requests == 0


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn zip"])
def test_unreadable_checkpoint_is_unavailable(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(content)
    with pytest.raises(ModelUnavailable, match="not a checkpoint"):
        load("mine", tmp_path)


@pytest.mark.parametrize("missing", ["dims", "model_state_dict"])
def test_checkpoint_of_something_else_is_unavailable(missing: str, tmp_path: Path) -> None:
    torch.save({**checkpoint(), missing: {}}, tmp_path / "mine.pt")
    with pytest.raises(ModelUnavailable, match="not a checkpoint"):
        load("mine", tmp_path)


class Opener:
    """Unpickled, it would touch a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"dims": Opener(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises(ModelUnavailable):
        load("evil", tmp_path)
    assert not (tmp_path / "ran").exists()


def test_own_checkpoint_is_loaded_by_its_name(tmp_path: Path) -> None:
    torch.save(checkpoint(), tmp_path / "mine.pt")
    engine = load("mine", tmp_path)
    assert (engine.name, len(engine.languages)) == ("mine", 99)


def test_bundled_model_wins_over_one_in_the_folder(demo_path: Path, tmp_path: Path) -> None:
    (tmp_path / "demo.pt").touch()
    assert catalog.weights_path("demo", tmp_path) == demo_path
