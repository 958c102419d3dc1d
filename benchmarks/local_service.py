"""The service as a user starts it, `python -m main`, in processes of its own on a free port."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from benchmarks.processes import family

ROOT = Path(__file__).parents[1]
_START_LIMIT = 180.0
"""Seconds. Ray, two deployments and a warmed model take 15 s on two idle cores."""


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

    def replica_pid(self, deployment: str) -> int | None:
        """The process of a deployment's replica, of this service only; None while there is none."""
        for pid, title in self.processes().items():
            if f":{deployment}" in title:
                return pid
        return None

    def processes(self) -> dict[int, str]:
        """What was started and all below it, that still runs: process ids and their titles."""
        return family(self.pid)

    def kill(self) -> None:
        """End all of it at once and without a word, as a power cut does."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # it went with its parent
                continue


@contextmanager
def local_service(settings: Mapping[str, str], log: Path) -> Iterator[Service]:
    """Serve with these WHISPER_ variables until the block ends, once it is ready.

    On a free port, unless one is given. Raises RuntimeError with the end of the log if it does
    not become ready.
    """
    port = int(settings.get("WHISPER_PORT", 0)) or free_port()
    environment = {
        **os.environ,
        "WHISPER_PORT": str(port),
        "WHISPER_DASHBOARD_PORT": "0",
        "WHISPER_DOWNLOAD_MODELS": "false",
        **settings,
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "main"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}", log)
            yield Service(port, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the service did not become ready:\n{log.read_text()[-4000:]}")
