"""What the service is where the Docker image starts it: open to all, and saying so."""

import json
import time
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.service import ROOT, Service, Surroundings

pytestmark = pytest.mark.ray

SAMPLE = ROOT / "tests/data/digits.wav"


def finished(log: Path, last: str = "Ctrl-C") -> list[str]:
    """The terminal's lines once one of them has `last`: by default, the last of the start, before
    which the service answers."""
    deadline = time.monotonic() + 30
    while last not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    return log.read_text().splitlines()


def transcribe(service: Service) -> httpx.Response:
    with SAMPLE.open("rb") as file:
        form = {"model_size": "demo"}
        return httpx.post(f"{service.http}/transcribe", files={"file": file}, data=form, timeout=60)


def test_it_starts_without_keys_and_transcribes(service: Service) -> None:
    answer = transcribe(service)
    spoken = json.loads(SAMPLE.with_suffix(".json").read_text())["text"]
    assert (answer.status_code, answer.json()["text"]) == (200, spoken)


def test_a_request_is_one_line_on_the_terminal(
    service: Service, surroundings: Surroundings
) -> None:
    answer = transcribe(service)
    request_id = answer.headers["X-Request-ID"]
    lines = finished(surroundings.log, last=request_id)
    assert [line for line in lines if request_id in line]
    assert not [line for line in lines if "gRPC" in line]


def test_log_terminal_and_stats_warn_that_it_is_open(
    service: Service, surroundings: Surroundings
) -> None:
    (warning,) = httpx.get(f"{service.http}/stats", timeout=60).json()["warnings"]
    lines = [line for line in finished(surroundings.log) if warning["message"] in line]
    assert any("WhisperService" in line and "WARNING" in line for line in lines)
    assert f"WARNING: {warning['message']}" in lines


@pytest.mark.usefixtures("service")
def test_the_dashboard_asks_for_the_token_that_ray_made(surroundings: Surroundings) -> None:
    token = (surroundings.home / ".ray/auth_token").read_text().strip()
    dashboard = f"http://127.0.0.1:{surroundings.dashboard_port}"
    assert httpx.get(f"{dashboard}/api/jobs/").status_code == 401
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{dashboard}/api/jobs/", headers=headers).status_code == 200
