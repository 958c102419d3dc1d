"""The service in processes of its own for as long as a benchmark runs, as `python -m main`."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

ROOT = Path(__file__).parents[1]
_START_LIMIT = 180.0


@contextmanager
def local_service(model: str, folder: Path, log: Path) -> Iterator[str]:
    """Serve `model` from `folder` and yield the address once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "WHISPER_PORT": str(port),
        "WHISPER_DASHBOARD": "false",
        "WHISPER_DEFAULT_MODEL": model,
        "WHISPER_MODEL_DIR": str(folder),
        "WHISPER_DOWNLOAD_MODELS": "false",
        "WHISPER_ASR_NUM_CPUS": str(os.cpu_count() or 1),
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
            yield f"http://127.0.0.1:{port}"
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
            time.sleep(0.3)
    raise SystemExit(f"the service did not become ready; see {log}")
