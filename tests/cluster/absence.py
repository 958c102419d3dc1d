"""Every WhisperASR is lost and held away; what clients see meanwhile and after.

The uploads, sockets and probes are all new connections, which the kernel spreads over the proxies.
"""

import json
import threading
import time
import wave
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from benchmarks.local_cluster import LocalCluster
from benchmarks.local_service import ROOT
from whisper_service.serving.presence import LOOK_EVERY

DIGITS = ROOT / "tests/data/digits.wav"
CONFIG = {"language": "en", "sample_rate": 16000}
FRAME = 0.2
RECOVERY_LIMIT = 120.0


def live_through(cluster: LocalCluster, n_asr: int, seconds: float) -> dict[str, Any]:
    """Lose all `n_asr` of them, and let others start after so many seconds."""
    address = f"127.0.0.1:{cluster.port}"
    usual = _upload(address)
    with _stream(address) as goes:
        token = _ready(goes, CONFIG)["resume"]
    with ExitStack() as stack:
        stays = _stream_that_outlives(cluster, stack, address)
        answered_at = time.monotonic()
        for _ in range(n_asr):
            cluster.kill_node("asr")
        cluster.wait_until(lambda: not cluster.replicas()["WhisperASR"].get("RUNNING"), 60)
        # For as long after an answer a file is taken on unasked, and waits for the next decoder.
        cluster.wait_until(lambda: time.monotonic() - answered_at > LOOK_EVERY, 60)
        seen = _while_away(address, stays, time.monotonic() + seconds)
        with _stream(address) as comes_back:
            resumed = _ready(comes_back, {"resume": token})["type"]
        for _ in range(n_asr):
            cluster.add_node("asr")
        recovery = cluster.wait_until(cluster.is_whole, RECOVERY_LIMIT)
        stays.send(json.dumps({"type": "stop"}))
        text = _text(stays)
    after = _upload(address)
    return {
        **seen,
        "usual": usual,
        "resumed": resumed,
        "recovery": recovery,
        "text": text,
        "after": after,
    }


def _while_away(address: str, socket: ClientConnection, end: float) -> dict[str, Any]:
    """Speak on a socket that was open before, send files, and probe, until `end`."""
    uploads: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=_upload_until, args=(end, address, uploads)),
        threading.Thread(target=_speak, args=(socket, end)),
    ]
    for thread in threads:
        thread.start()
    probes: dict[str, set[int]] = {"/-/healthz": set(), "/docs": set()}
    while time.monotonic() < end:
        for path, codes in probes.items():
            codes.add(httpx.get(f"http://{address}{path}", timeout=30).status_code)
        time.sleep(1.0)
    ready = httpx.get(f"http://{address}/readyz", timeout=30)
    for thread in threads:
        thread.join()
    return {
        "probes": {path: sorted(codes) for path, codes in probes.items()},
        "readyz": ready.status_code,
        "retry_after": ready.headers.get("Retry-After"),
        "uploads": uploads,
    }


def _stream(address: str) -> AbstractContextManager[ClientConnection]:
    # A pong may take longer where two cores run a cluster.
    return connect(f"ws://{address}/stream", compression=None, ping_timeout=None)


def _stream_that_outlives(
    cluster: LocalCluster, stack: ExitStack, address: str
) -> ClientConnection:
    """Every node has a proxy, and what the lost one's held is lost with it: that of a stream that
    is to stay is on another node."""
    while True:
        socket = stack.enter_context(_stream(address))
        _ready(socket, CONFIG)
        if not cluster.has_connection("asr", socket.local_address[1]):
            return socket


def _ready(socket: ClientConnection, first: dict[str, Any]) -> dict[str, Any]:
    socket.send(json.dumps(first))
    message: dict[str, Any] = json.loads(socket.recv(30))
    assert message["type"] == "ready", message
    return message


def _speak(socket: ClientConnection, end: float) -> None:
    """As fast as a microphone, and then its silence."""
    with wave.open(str(DIGITS)) as file:
        n_samples = int(FRAME * file.getframerate())
        while time.monotonic() < end:
            socket.send(file.readframes(n_samples) or bytes(2 * n_samples))
            time.sleep(FRAME)


def _text(socket: ClientConnection) -> str:
    messages = [json.loads(message) for message in socket]
    return "".join(m["text"] for m in messages if m["type"] == "final").strip()


def _upload_until(end: float, address: str, uploads: list[dict[str, Any]]) -> None:
    while time.monotonic() < end:
        uploads.append(_upload(address))
        time.sleep(1.0)


def _upload(address: str) -> dict[str, Any]:
    began = time.monotonic()
    with DIGITS.open("rb") as file:
        fields = {"language": "en"}
        url = f"http://{address}/transcribe"
        answer = httpx.post(url, files={"file": file}, data=fields, timeout=120)
    return {
        "took": round(time.monotonic() - began, 1),
        "code": answer.status_code,
        "retry_after": answer.headers.get("Retry-After"),
        "answer": answer.json(),
    }
