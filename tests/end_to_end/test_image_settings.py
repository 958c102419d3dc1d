"""The service as the Docker image starts it: bound to every address, with no key configured."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.local_service import ROOT, free_port, local_service

pytestmark = pytest.mark.ray

SAMPLE = ROOT / "tests/data/digits.wav"
HOSTS = dict(re.findall(r"(WHISPER_\w*HOST)=(\S+)", (ROOT / "Dockerfile").read_text()))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("image") / "log"


@pytest.fixture(scope="module")
def dashboard() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def url(log: Path, dashboard: str) -> Iterator[str]:
    settings = {
        **HOSTS,
        "HOME": str(log.parent),  # Ray keeps its token there
        "WHISPER_DEFAULT_MODEL": "demo",
        "WHISPER_DASHBOARD": "true",
        "WHISPER_DASHBOARD_PORT": dashboard.rpartition(":")[2],
    }
    with local_service(settings, log) as service:
        yield service.http


def finished(log: Path) -> list[str]:
    """The terminal's lines once the last of the start is there; the service answers before it."""
    deadline = time.monotonic() + 30
    while "Ctrl-C" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    return log.read_text().splitlines()


def test_it_starts_without_keys_and_transcribes(url: str) -> None:
    with SAMPLE.open("rb") as file:
        answer = httpx.post(f"{url}/transcribe", files={"file": file}, timeout=60)
    spoken = json.loads(SAMPLE.with_suffix(".json").read_text())["text"]
    assert (answer.status_code, answer.json()["text"]) == (200, spoken)


def test_log_terminal_and_stats_warn_that_it_is_open(url: str, log: Path) -> None:
    (warning,) = httpx.get(f"{url}/stats", timeout=60).json()["warnings"]
    lines = [line for line in finished(log) if warning["message"] in line]
    assert any("WhisperService" in line and "WARNING" in line for line in lines)
    assert f"WARNING: {warning['message']}" in lines


def test_the_dashboard_asks_for_the_token_that_ray_made(
    url: str, dashboard: str, log: Path
) -> None:
    token = (log.parent / ".ray/auth_token").read_text().strip()
    assert httpx.get(f"{dashboard}/api/jobs/").status_code == 401
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{dashboard}/api/jobs/", headers=headers).status_code == 200
