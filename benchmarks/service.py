"""What the service costs on top of its engine: the same windows directly, by handle, over HTTP.

    python -m benchmarks.service --model base --json FILE

One process holds the engine as WhisperASR does, a local Ray runs the service with as many threads;
they take turns, round after round, and medians count. Throughput is of a file of five minutes,
latency of a recording of ten seconds alone.
"""

import argparse
import asyncio
import json
import os
import platform
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch

from benchmarks import grow
from benchmarks.speech_track import as_wav, make_track
from whisper_service.api.files.transcription import WINDOWS_IN_FLIGHT, drive
from whisper_service.audio.vad import SileroDetector
from whisper_service.engine.engine import Engine, load_engine
from whisper_service.engine.worker import DecodeWorker
from whisper_service.policy.file_plan import FilePlan
from whisper_service.serving.answer import Answer
from whisper_service.settings import Settings
from whisper_service.types import SAMPLE_RATE, Audio, DecodeJob, DecodeOptions, Hypothesis, Segment

FILE_SECONDS, CLIP_SECONDS = 300, 10
PAUSE = 0.3
"""Seconds between two turns, so that the other's threads have stopped spinning for work."""
_APPLICATION = "whisper"
_CONTROL = "engine again"
"""What it adds is the machine's own unrest: no figure of the others means less than that."""
_OPTIONS = DecodeOptions(language="en")

Decode = Callable[[DecodeJob], Awaitable[Hypothesis]]
Turn = Callable[[], Awaitable[None]]


def main() -> None:
    options = _options()
    folder = grow.model_folder()
    model = grow.grown_checkpoint(options.model, folder).stem
    threads = os.cpu_count() or 1
    settings = Settings(
        default_model=model,
        model_dir=folder,
        download_models=False,
        asr_num_cpus=threads,
        device="cpu",
    )
    torch.set_num_threads(threads)
    engine = load_engine(model, folder, device="cpu", max_batch_size=settings.max_batch_size)
    with _service(settings, is_haproxy=options.haproxy) as (url, handle):
        found = asyncio.run(_measure(engine, handle, url, settings, options))
    ingress = "haproxy" if options.haproxy else "proxy"
    found = {"model": options.model, "ingress": ingress, "threads": threads, **found, **_machine()}
    print(_table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


async def _measure(
    engine: Engine, handle: Any, url: str, settings: Settings, options: argparse.Namespace
) -> dict[str, Any]:
    (file, file_wav), (clip, clip_wav) = _recording(FILE_SECONDS), _recording(CLIP_SECONDS)
    worker = DecodeWorker(max_batch_size=settings.max_batch_size)

    async def directly(job: DecodeJob) -> Hypothesis:
        return await asyncio.wrap_future(worker.submit(engine, job))

    async def by_handle(job: DecodeJob) -> Hypothesis:
        answer: Answer = await handle.decode.remote(engine.name, job)
        return answer.hypothesis

    try:
        jobs = await _jobs_of(file, directly, WINDOWS_IN_FLIGHT)
        async with httpx.AsyncClient(base_url=url, timeout=600) as client:
            throughput = await _take_turns(
                {
                    "engine": lambda: _all(jobs, directly, WINDOWS_IN_FLIGHT),
                    "handle": lambda: _all(jobs, by_handle, WINDOWS_IN_FLIGHT),
                    "http": lambda: _post(client, file_wav),
                },
                options.rounds,
            )
            (job,) = await _jobs_of(clip, directly, 1)
            # The two processes alternate: one that has just decoded has its weights in the caches,
            # and took 17 ms less of a second.
            latency = await _take_turns(
                {
                    "engine": lambda: _all([job], directly, 1),
                    "handle": lambda: _all([job], by_handle, 1),
                    _CONTROL: lambda: _all([job], directly, 1),
                    "http": lambda: _post(client, clip_wav),
                },
                options.requests,
            )
    finally:
        worker.close()
    return {"throughput": _throughput(throughput), "latency": _latency(latency)}


async def _take_turns(turns: dict[str, Turn], n_rounds: int) -> dict[str, list[float]]:
    """Seconds of each; the first round warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(n_rounds + 1):
        for name, turn in turns.items():
            await asyncio.sleep(PAUSE if n_rounds < 20 else PAUSE / 10)
            began = time.perf_counter()
            await turn()
            if number:
                seconds[name].append(time.perf_counter() - began)
        if n_rounds < 20 or number % 20 == 0:
            _say(f"round {number} of {n_rounds}: {_last(seconds)}")
    return seconds


def _throughput(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Of the engine's own: the median of the rounds' ratios, since a round's turns are close."""
    shares = {
        name: statistics.median(
            engine / own for engine, own in zip(seconds["engine"], taken, strict=True)
        )
        for name, taken in seconds.items()
    }
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    return {
        "seconds": medians,
        "real_time_factor": {name: FILE_SECONDS / taken for name, taken in medians.items()},
        "share_of_engine": shares,
        "rounds": seconds,
    }


def _latency(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Milliseconds; added is a percentile less the engine's own.

    A percentile of the rounds' differences is there too: at the 99th it has the unrest of two turns
    in it, which the engine against itself shows.
    """
    found = {}
    for name, taken in seconds.items():
        differences = np.subtract(taken, seconds["engine"])
        found[name] = {
            "median_ms": 1e3 * statistics.median(taken),
            **{
                f"added_p{n}_ms": 1e3
                * float(np.percentile(taken, n) - np.percentile(seconds["engine"], n))
                for n in (50, 99)
            },
            "p99_of_differences_ms": 1e3 * float(np.percentile(differences, 99)),
            "n": len(taken),
        }
    return found


async def _jobs_of(audio: Audio, decode: Decode, n_side_by_side: int) -> list[DecodeJob]:
    """The windows that a file of this audio leads to."""
    jobs: list[DecodeJob] = []

    async def recorded(job: DecodeJob) -> Hypothesis:
        jobs.append(job)
        return await decode(job)

    async def blocks() -> Any:
        yield audio

    async def ignore(segments: list[Segment]) -> None:
        del segments

    plan = FilePlan(_OPTIONS, max_in_flight=n_side_by_side, detector=SileroDetector())
    await drive(plan, blocks(), recorded, ignore)
    return jobs


async def _all(jobs: list[DecodeJob], decode: Decode, n_side_by_side: int) -> None:
    places = asyncio.Semaphore(n_side_by_side)

    async def one(job: DecodeJob) -> None:
        async with places:
            if not isinstance(answer := await decode(job), Hypothesis):
                raise SystemExit(f"a window was not decoded: {answer}")

    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(one(job))


async def _post(client: httpx.AsyncClient, wav: bytes) -> None:
    files = {"file": ("speech.wav", wav)}
    answer = await client.post("/transcribe", files=files, data={"language": "en"})
    answer.raise_for_status()


def _recording(seconds: int) -> tuple[Audio, bytes]:
    """Speech as samples, and the same as a wav file."""
    pcm = np.frombuffer(make_track(seconds).pcm, np.int16)[: seconds * SAMPLE_RATE]
    return np.asarray(pcm / 32768, np.float32), as_wav(pcm.tobytes())


@contextmanager
def _service(settings: Settings, *, is_haproxy: bool) -> Iterator[tuple[str, Any]]:
    """The service on a Ray of its own: its address, and WhisperASR's handle."""
    os.environ["RAY_SERVE_ENABLE_HA_PROXY"] = "1" if is_haproxy else "0"
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Ray's workers give way to all else on their machine (niceness 15). Here that is the caller,
    # whose own engine would then have the better of it.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # so it is spelt
    import ray
    from ray import serve

    from main import app
    from whisper_service.serving.deployments import SERVICE_CPUS

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    cpus = (settings.asr_num_cpus or 1) + SERVICE_CPUS
    ray.init(address="local", num_cpus=int(cpus) + 1, include_dashboard=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(app(settings), name=_APPLICATION)
        handle = serve.get_deployment_handle("WhisperASR", _APPLICATION)
        yield f"http://127.0.0.1:{port}", handle
    finally:
        serve.shutdown()
        ray.shutdown()


def _table(found: dict[str, Any]) -> str:
    lines = [
        f"| {found['model']} | {FILE_SECONDS} s file | x real time | of the engine |"
        f" {CLIP_SECONDS} s alone, median | added p50 | added p99 | p99 of differences |",
        "|---|---|---|---|---|---|---|---|",
    ]
    throughput, latency = found["throughput"], found["latency"]
    for name, own in latency.items():
        file = ("", "", "")
        if name in throughput["seconds"]:
            file = (
                f"{throughput['seconds'][name]:.2f} s",
                f"{throughput['real_time_factor'][name]:.1f}",
                f"{throughput['share_of_engine'][name]:.0%}",
            )
        lines.append(
            f"| {name} | {' | '.join(file)} | {own['median_ms']:.0f} ms"
            f" | {own['added_p50_ms']:.1f} ms | {own['added_p99_ms']:.1f} ms"
            f" | {own['p99_of_differences_ms']:.1f} ms |"
        )
    return "\n".join(lines)


def _last(seconds: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {taken[-1]:.3f} s" for name, taken in seconds.items() if taken)


def _machine() -> dict[str, Any]:
    name = torch.cpu.get_capabilities().get("cpu_name", platform.processor())
    return {"machine": name, "load_average": os.getloadavg()[0], "torch": torch.__version__}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", choices=grow.SIZES, default="base")
    parser.add_argument("--rounds", type=int, default=5, help="of the file (%(default)s)")
    parser.add_argument("--requests", type=int, default=200, help="of the clip (%(default)s)")
    parser.add_argument("--haproxy", action="store_true", help="in place of Serve's own proxy")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
