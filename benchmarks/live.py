"""How many live streams a service holds, and how late its text is.

    python -m benchmarks.live --streams 1,2,4,8 --seconds 60

starts the service with `demo` grown to tiny (or uses --url), streams spoken words with pauses from
open-loop clients, and writes a table, JSON and a plot. All latencies are on the audio's own clock:
from when a word was spoken to when its text arrived, the client's 0.2 s frames included.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks import machine
from benchmarks.grow import SIZES, grown_checkpoint, model_folder
from benchmarks.live_client import run_streams
from benchmarks.live_report import Row, plot, summarise, table, write_json
from benchmarks.local_service import local_service
from benchmarks.speech_track import Track, as_wav, make_track

CONFIG = {"language": "en", "partial_interval": 0.5, "endpoint_silence": 0.5}
"""What the goals in docs/benchmarks.md are stated for."""


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    track = make_track(options.seconds)
    with _service(options) as url:
        rows = asyncio.run(_measure(url, track, options.streams, options.model))
    facts = {
        **machine.describe(),
        "model": options.model,
        "seconds": track.seconds,
        "config": CONFIG,
    }
    write_json(rows, facts, options.out / "live.json")
    plot(rows, f"{options.model}, {facts['machine']}", options.out / "live.png")
    print(table(rows))


async def _measure(url: str, track: Track, counts: list[int], model: str) -> list[Row]:
    file_text = await _as_file(url, track, model)
    rows = []
    for n_streams in counts:
        _report(f"{n_streams} streams of {track.seconds:.0f} s")
        config: dict[str, Any] = {**CONFIG, "model_size": model}
        runs = await run_streams(url.replace("http", "ws", 1), track, n_streams, config)
        for failure in filter(None, (run.failure for run in runs)):
            _report(f"  failed: {failure}")
        rows.append(summarise(track, runs, file_text))
        _report(table(rows).splitlines()[-1])
    return rows


async def _as_file(url: str, track: Track, model: str) -> str:
    async with httpx.AsyncClient(timeout=600) as client:
        answer = await client.post(
            f"{url}/transcribe",
            files={"file": ("track.wav", as_wav(track.pcm))},
            data={"model_size": model, "language": "en"},
        )
    answer.raise_for_status()
    return str(answer.json()["text"])


@contextmanager
def _service(options: argparse.Namespace) -> Iterator[str]:
    if options.url:
        yield options.url.rstrip("/")
        return
    folder = model_folder()
    size = options.model.removeprefix("demo-")
    if size in SIZES:
        grown_checkpoint(size, folder)
    settings = {
        "WHISPER_DEFAULT_MODEL": options.model,
        "WHISPER_MODEL_DIR": str(folder),
        "WHISPER_ASR_NUM_CPUS": str(os.cpu_count() or 1),
    }
    with local_service(settings, options.out / "service.log") as service:
        yield service.http


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--streams", type=_counts, default="1,2,4,8", help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="of each stream (%(default)g)")
    parser.add_argument("--model", default="demo-tiny", help="(%(default)s)")
    parser.add_argument("--url", help="of a running service; else one is started here")
    parser.add_argument("--out", type=Path, default=Path(".cache/live"), help="(%(default)s)")
    return parser.parse_args()


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
