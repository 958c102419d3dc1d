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
        parents, titles = {}, {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                titles[int(folder.name)] = (folder / "cmdline").read_text()
            except OSError:  # it has just ended
                continue
            if stat[0] != "Z":
                parents[int(folder.name)] = int(stat[1])
        for pid, title in titles.items():
            if f":{deployment}" in title and _is_below(pid, self.pid, parents):
                return pid
        return None


@contextmanager
def local_service(settings: Mapping[str, str], log: Path) -> Iterator[Service]:
    """Serve with these WHISPER_ variables until the block ends, once it is ready.

    Raises RuntimeError with the end of the log if it does not become ready.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "WHISPER_PORT": str(port),
        "WHISPER_DASHBOARD": "false",
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


def _is_below(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == ancestor:
            return True
    return False
