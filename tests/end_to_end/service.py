"""The service as a user starts it: `python -m main` in a process of its own, on free ports."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 120
"""Ray, two deployments and a warmed model take 15 s on two idle cores."""


@dataclass(frozen=True, slots=True)
class Service:
    """Where the running service listens."""

    port: int
    pid: int
    """Of the process that was started; Ray's are below it."""

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[str], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(f"the service did not become ready:\n{log.read_text()[-4000:]}")


@pytest.fixture(scope="session")
def running_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service with the bundled model."""
    port = _free_port()
    log = tmp_path_factory.mktemp("service") / "log"
    environment = {
        **os.environ,
        "WHISPER_PORT": str(port),
        "WHISPER_DASHBOARD": "false",
        "WHISPER_DEFAULT_MODEL": "demo",
        "WHISPER_MODEL_DIR": str(log.parent / "models"),
        "WHISPER_DOWNLOAD_MODELS": "false",
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "main"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{port}", log)
            yield Service(port, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
