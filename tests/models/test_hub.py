"""Models of the Hub: the real library against a stand-in of the Hub's HTTP API."""

import hashlib
import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.models.web import WebServer, send, web_server
from whisper_service.models.hub import Hub, wanted_files
from whisper_service.models.progress import no_progress
from whisper_service.models.weight_files import FetchError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"vocab_size": 51865}',
    "generation_config.json": b"{}",
    "model.safetensors": b"numbers" * 1000,
    "pytorch_model.bin": b"a pickle",
    "README.md": b"# A fine-tune",
}
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


class HubServer:
    """Repositories by name; as much of the API as `huggingface_hub` asks for a snapshot."""

    def __init__(self) -> None:
        self.repositories = {"some/finetune": FILES}
        self.revisions: list[str] = []
        self.tokens: list[str | None] = []

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        self.tokens.append(handler.headers.get("Authorization"))
        path = handler.path.split("?")[0]
        if found := _RESOLVE.fullmatch(path):
            self.revisions.append(found["revision"])
            return self._file(handler, found["repo"], found["file"])
        repository = "/".join(path.removeprefix("/api/models/").split("/")[:2])
        files = self.repositories.get(repository)
        if files is None:
            return send(handler, b"{}", 404, X_Error_Code="RepoNotFound")
        if "/tree/" in path:
            return send(handler, json.dumps([_entry(n, b) for n, b in files.items()]).encode())
        siblings = [{"rfilename": name} for name in files]
        info = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings}
        return send(handler, json.dumps(info).encode())

    def _file(self, handler: BaseHTTPRequestHandler, repository: str, name: str) -> None:
        body = self.repositories.get(repository, {}).get(name)
        if body is None:
            return send(handler, b"", 404, X_Error_Code="EntryNotFound")
        etag = hashlib.sha256(body).hexdigest()
        return send(handler, body, ETag=f'"{etag}"', X_Repo_Commit=COMMIT)


def _entry(name: str, body: bytes) -> dict[str, object]:
    oid = hashlib.sha1(body).hexdigest()
    return {"type": "file", "path": name, "size": len(body), "oid": oid}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    answers = HubServer()
    with web_server(answers) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        # What the library read of the environment when this process imported it.
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield answers


def fetch(*repositories: str, name: str, timeout: float = 30) -> Path:
    return Hub(repositories, timeout=timeout).fetch(name, no_progress).path


def test_a_listed_repository_comes_without_its_pickles(hub: HubServer) -> None:
    found = fetch("some/finetune", name="some/finetune")
    assert sorted(p.name for p in found.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
    ]
    assert (found / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_what_has_come_is_found_without_the_hub(hub: HubServer) -> None:
    listed = Hub(["some/finetune"], timeout=30)
    assert listed.find("some/finetune") is None
    found = listed.fetch("some/finetune", no_progress)
    hub.repositories.clear()
    assert listed.find("some/finetune") == found
    assert found.is_vouched_for


def test_half_a_snapshot_is_not_found(hub: HubServer) -> None:
    found = fetch("some/finetune", name="some/finetune")
    (found / "model.safetensors").unlink()
    assert Hub(["some/finetune"], timeout=1).find("some/finetune") is None


def test_a_pinned_revision_is_asked_for(hub: HubServer) -> None:
    fetch("some/finetune@v2", name="some/finetune")
    assert set(hub.revisions) <= {"v2", COMMIT}


def test_the_token_is_the_librarys_own(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch("some/finetune", name="some/finetune")
    assert "Bearer hf_secret" in hub.tokens


def test_an_official_model_may_come_from_the_hub(hub: HubServer) -> None:
    hub.repositories["openai/whisper-small"] = FILES
    listed = Hub(["openai/whisper-small"], timeout=30)
    assert listed.can_fetch("small")
    assert listed.names() == []
    assert listed.fetch("small", no_progress).is_vouched_for


def test_what_is_not_listed_is_not_asked_for(hub: HubServer) -> None:
    assert not Hub(["some/finetune"], timeout=1).can_fetch("some/other")


def test_a_repository_that_is_not_there_is_told(hub: HubServer) -> None:
    with pytest.raises(FetchError, match="Repository Not Found"):
        fetch("nobody/nothing", name="nobody/nothing")


def test_being_offline_is_told(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FetchError, match=r"(?i)offline"):
        fetch("some/finetune", name="some/finetune")


def test_a_hub_that_stays_silent_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stall(handler: BaseHTTPRequestHandler) -> None:
        server.closing.wait(20)

    server: WebServer
    with web_server(stall) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        with pytest.raises(FetchError, match="bytes came in 2 s"):
            fetch("some/finetune", name="some/finetune", timeout=2)


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["config.json", "model.bin", "vocabulary.json"], ["config.json", "model.bin"]),
        (
            [
                "config.json",
                "model.safetensors.index.json",
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.fp32-00001-of-00002.safetensors",
            ],
            [
                "config.json",
                "model.safetensors.index.json",
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
            ],
        ),
    ],
)
def test_the_files_of_a_model_are_chosen(files: list[str], wanted: list[str]) -> None:
    assert wanted_files(files, "some/model") == wanted


def test_a_repository_of_pickles_is_refused() -> None:
    with pytest.raises(FetchError, match="holds no Whisper that is loaded here"):
        wanted_files(["config.json", "pytorch_model.bin"], "some/model")
