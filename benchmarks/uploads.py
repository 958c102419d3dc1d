"""Uploads of an hour and of many megabytes: are all words there, and does memory stay flat?

    python -m benchmarks.uploads --hours 1 --times 3 --big 20 --megabytes 300

Starts the service with the bundled model. First an hour of known words goes up as wav, again and
again; its transcript is compared with what was said. Then bodies of many megabytes go up, of which
only the first half minute is decoded (POST /detect-language). The memory of the ingress, which
spools and reads them, is looked at all the while: what is its own, not Ray's object store.
"""

import argparse
import json
import os
import re
import tempfile
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from benchmarks.local_service import Service, local_service
from benchmarks.speech_track import Track, make_track
from whisper_service.types import SAMPLE_RATE

LOOK_EVERY = 0.2
TIMEOUT = 3600.0


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "service.log"
        settings = {"WHISPER_DEFAULT_MODEL": "demo", "WHISPER_PRELOAD_MODELS": "demo"}
        with local_service(settings, log) as service:
            for _ in range(options.times):
                print(json.dumps(long_upload(service, folder, options.hours)), flush=True)
            if options.big:
                found = big_uploads(service, folder, options.big, options.megabytes)
                print(json.dumps(found), flush=True)


def long_upload(service: Service, folder: Path, hours: float) -> dict[str, Any]:
    """Transcribe hours of speech as one wav; what it took and how much of it was right."""
    track = make_track(3600 * hours)
    path = folder / "long.wav"
    _write(path, track)
    with path.open("rb") as file, watched(service) as memory:
        began = time.monotonic()
        answer = _post(service, "/transcribe", file, response_format="verbose_json")
        took = time.monotonic() - began
    said, heard = list(track.words), re.findall(r"\w+", answer["text"].lower())
    last = answer["segments"][-1]["end"]
    return {
        "seconds": round(track.seconds, 1),
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "took": round(took, 1),
        "words_said": len(said),
        "words_heard": len(heard),
        "same_words": heard == said,
        "first_difference": _first_difference(said, heard),
        "last_segment_ends": last,
        **memory,
    }


def big_uploads(service: Service, folder: Path, times: int, megabytes: int) -> dict[str, Any]:
    """Send a body of that size again and again; memory after the first one and after the last."""
    path = folder / "big.wav"
    _write(path, make_track(60), megabytes * 10**6)
    after, took = [], []
    with watched(service) as memory:
        for _ in range(times):
            began = time.monotonic()
            with path.open("rb") as file:
                _post(service, "/detect-language", file)
            took.append(round(time.monotonic() - began, 1))
            after.append(round(_resident(service), 1))
    return {"megabytes": megabytes, "took": took, "mib_after_each": after, **memory}


@contextmanager
def watched(service: Service) -> Iterator[dict[str, float]]:
    """Yields a dict that has the ingress's memory at the end: before, highest and after, in MiB."""
    memory: dict[str, float] = {"mib_before": round(_resident(service), 1)}
    highest, done = memory["mib_before"], threading.Event()

    def look() -> None:
        nonlocal highest
        while not done.wait(LOOK_EVERY):
            highest = max(highest, _resident(service))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield memory
    finally:
        done.set()
        thread.join()
        memory["mib_highest"] = round(highest, 1)
        memory["mib_after"] = round(_resident(service), 1)


def _resident(service: Service) -> float:
    pid = service.replica_pid("WhisperService")
    assert pid is not None
    # Without what is shared: pages of Ray's object store count wherever they are mapped.
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"^RssAnon:\s+(\d+) kB", status, re.M)[0]) / 1024


def _write(path: Path, track: Track, n_bytes: int = 0) -> None:
    """A wav of the track; with `n_bytes`, silence after it up to that size, which takes no disk."""
    n_data = max(len(track.pcm), n_bytes)
    with wave.open(str(path), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.setnframes(n_data // 2)
        writer.writeframesraw(track.pcm)
    with path.open("r+b") as file:
        head = file.seek(0, os.SEEK_END) - len(track.pcm)
        file.truncate(head + n_data)
        for at, size in ((4, head + n_data - 8), (head - 4, n_data)):
            file.seek(at)
            file.write(size.to_bytes(4, "little"))


def _post(service: Service, path: str, file: BinaryIO, **fields: str) -> dict[str, Any]:
    files = {"file": ("a.wav", file, "audio/wav")}
    answer = httpx.post(f"{service.http}{path}", files=files, data=fields, timeout=TIMEOUT)
    answer.raise_for_status()
    body: dict[str, Any] = answer.json()
    return body


def _first_difference(said: list[str], heard: list[str]) -> int | None:
    if said == heard:
        return None
    pairs = zip(said, heard, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(said), len(heard)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hours", type=float, default=1.0, help="of speech in one file (1)")
    parser.add_argument("--times", type=int, default=3, help="that it is sent (%(default)s)")
    parser.add_argument("--big", type=int, default=20, help="big bodies (%(default)s)")
    parser.add_argument("--megabytes", type=int, default=300, help="of each (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
