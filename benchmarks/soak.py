"""Ten minutes of mixed jobs: does the engine's memory stay flat?

    python -m benchmarks.soak --minutes 10

Jobs of every kind (lengths, languages, tasks, beams, sampling, words, prompts, live and file, some
cancelled, some spoiled) go through the worker from several threads at once. Every answer must be
a hypothesis or the error that was asked for; the process's memory in the last third must not be
above the middle third's by more than 2 %. The first third does not judge: the allocator's blocks
grow until each kind of job has met each other (measured: by a tenth in four minutes, then no more),
and what leaks goes on leaking.
"""

import argparse
import json
import os
import statistics
import sys
import time
import wave
from collections import Counter
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks import grow
from whisper_service.engine.engine import Engine, load_engine
from whisper_service.engine.worker import DecodeWorker
from whisper_service.errors import InvalidAudio
from whisper_service.types import SAMPLE_RATE, Audio, DecodeJob, DecodeOptions, Priority

DATA = Path(__file__).parents[1] / "tests" / "data"
SAMPLE_EVERY = 5.0
"""Seconds between two looks at the memory."""
LIMIT = 1.02

GREEDY = DecodeOptions(language="en")
KINDS = {
    "greedy": GREEDY,
    "detected": DecodeOptions(),
    "beam": replace(GREEDY, beam_size=5),
    "sampled": replace(GREEDY, temperatures=(0.8,), best_of=3),
    "fallback": replace(GREEDY, logprob_threshold=0.0),
    "words": replace(GREEDY, timestamps="word"),
    "untimed": replace(GREEDY, timestamps="none"),
    "translated": replace(GREEDY, language="de", task="translate"),
    "prompted": replace(GREEDY, prompt="one two three"),
}


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    path = grow.grown_checkpoint(options.model, grow.model_folder())
    engine = load_engine(path.stem, path.parent, device="cpu", dtype=options.dtype)
    engine.warm_up()
    counts, memory = _soak(engine, options)
    third = max(1, len(memory) // 3)
    parts = (memory[:third], memory[third:-third] or memory[:third], memory[-third:])
    first, middle, last = map(statistics.median, parts)
    found = {
        "model": options.model,
        "dtype": options.dtype,
        "minutes": options.minutes,
        "jobs": dict(counts),
        "first_third_mib": first,
        "middle_third_mib": middle,
        "last_third_mib": last,
        "highest_mib": max(memory),
        "memory_mib": [round(mib) for mib in memory],
    }
    print(json.dumps(found, indent=1))
    if last > LIMIT * middle:
        raise SystemExit(f"memory grew from {middle:.0f} to {last:.0f} MiB")


def _soak(engine: Engine, options: argparse.Namespace) -> tuple[Counter[str], list[float]]:
    worker, counts, memory = DecodeWorker(), Counter[str](), list[float]()
    end = time.monotonic() + 60 * options.minutes
    with ThreadPoolExecutor(options.clients) as pool:
        clients = [
            pool.submit(_client, worker, engine, seed, end, counts)
            for seed in range(options.clients)
        ]
        while time.monotonic() < end:
            time.sleep(SAMPLE_EVERY)
            memory.append(_resident_mib())
            print(f"{memory[-1]:.0f} MiB after {sum(counts.values())} jobs", file=sys.stderr)
        for client in clients:
            client.result()
    worker.close()
    return counts, memory


def _client(
    worker: DecodeWorker, engine: Engine, seed: int, end: float, counts: Counter[str]
) -> None:
    rng, speech = np.random.default_rng(seed), _speech()
    while time.monotonic() < end:
        kind = str(rng.choice([*KINDS, "cancelled", "spoiled"]))
        seconds = rng.uniform(0.5, 30)
        audio = speech[: int(seconds * SAMPLE_RATE)]
        if kind == "spoiled":
            audio = np.full_like(audio, np.nan)
        priority: Priority = "live" if rng.random() < 0.3 else "file"
        job = DecodeJob(audio, KINDS.get(kind, GREEDY), priority=priority)
        future = worker.submit(engine, job)
        if kind == "cancelled":
            time.sleep(rng.uniform(0, 0.2))
            future.cancel()
        try:
            future.result(timeout=300)
        except InvalidAudio:
            assert kind == "spoiled"
        except CancelledError:
            assert kind == "cancelled"
        counts[kind] += 1


def _speech() -> Audio:
    """30 s of the English recordings."""
    parts = []
    for path in sorted(DATA.glob("en*.wav")):
        with wave.open(str(path)) as file:
            parts.append(np.frombuffer(file.readframes(file.getnframes()), np.int16))
    return np.resize(np.concatenate(parts) / 32768, 30 * SAMPLE_RATE).astype(np.float32)


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10, help="(%(default)s)")
    parser.add_argument("--model", choices=grow.SIZES, default="tiny")
    parser.add_argument("--dtype", default="auto", help="(%(default)s)")
    parser.add_argument("--clients", type=int, default=12, help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


if __name__ == "__main__":
    main()
