"""Everything that wants a GPU, in one call: check it, then time it.

    python -m benchmarks.gpu --json FILE

Grows `demo` to the true sizes of large and turbo, runs the tests marked `gpu`, then decodes full
30 s windows of dense speech, 90 ± 20 tokens each, greedy, in batches of 1 to 256, and says for each
how many times real time that is and which part of the floor (`machine.floor_seconds`, with this
device's measured bandwidth and rate). faster-whisper, batched, is timed beside it where it runs.
What was found within `--minutes` is written; what is left out is said. Without CUDA it ends with 2.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import whisper

from benchmarks import engine, grow, machine, peers
from whisper_service.types import WINDOW_SECONDS, Audio

NO_GPU = 2
SIZES = ("turbo", "large")
GOALS = {"large": 1600, "turbo": 4500}
"""Times real time on one H200."""
WINDOWS_A_BATCH = 3
"""Each timing decodes so many batches: windows leave and join while others go on."""
FEWEST = 8


def main() -> int:
    options = _options()
    if not torch.cuda.is_available():
        print("torch sees no CUDA device: nothing is checked or timed", file=sys.stderr)
        return NO_GPU
    ends = time.monotonic() + 60 * options.minutes
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "memory_bytes": torch.cuda.mem_get_info()[1],
        "dtype": options.dtype,
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda},
        "tests": _run_tests(ends),
        "sizes": {},
        "left_out": [],
    }
    _write(found, options.json)
    measured = measure(options.dtype)
    found["machine"] = {"bandwidth": measured.bandwidth, "flops": measured.flops}
    recordings = engine._recordings()
    for size in options.sizes:
        path = grow.grown_checkpoint(size, options.folder)
        rows = found["sizes"][size] = []
        for batch in options.batches:
            for name, make in _contenders(path, options.dtype, batch, options.folder):
                if time.monotonic() > ends:
                    found["left_out"].append(f"{size}, batch {batch}: {name}")
                    continue
                rows.append(_row(name, make, batch, recordings, path, measured, options.dtype))
                _write(found, options.json)
    _print_table(found)
    return int(found["tests"]["status"] != 0)


def _contenders(
    path: Path, dtype: Any, batch: int, folder: Path
) -> list[tuple[str, Callable[[], peers.Decode]]]:
    def ours() -> peers.Decode:
        return peers.ours(path, dtype, batch, device="cuda")

    def theirs() -> peers.Decode:
        from benchmarks.convert import converted  # needs CTranslate2

        copy = converted(path, path.with_suffix(".ct2"))
        return peers.faster_whisper(copy, "float16", os.cpu_count() or 1, batch, device="cuda")

    return [("ours", ours), ("faster-whisper", theirs)]


def _row(
    name: str,
    make: Callable[[], peers.Decode],
    batch: int,
    recordings: list[Audio],
    path: Path,
    measured: machine.Machine,
    dtype: str,
) -> dict[str, Any]:
    """Time one engine at one batch size; an engine that cannot run says why."""
    n = max(FEWEST, WINDOWS_A_BATCH * batch)
    windows, lengths = peers.dense_windows(recordings, n), peers.lengths_of(n)
    row: dict[str, Any] = {"engine": name, "batch": batch}
    try:
        decode = make()
        decode(windows[: 2 * batch], lengths[: 2 * batch])  # graphs are recorded, plans are made
        torch.cuda.synchronize()
        began = time.perf_counter()
        n_tokens = sum(decode(windows, lengths))
        torch.cuda.synchronize()
        seconds = (time.perf_counter() - began) / n
    except (RuntimeError, ValueError, ImportError) as error:  # too little memory, no such library
        _say(f"{name}, batch {batch}: {error}")
        return {**row, "error": str(error)}
    finally:
        decode = None  # type: ignore[assignment]  # its memory is for the next
        torch.cuda.empty_cache()
    dims = whisper.model.ModelDimensions(**torch.load(path, map_location="cpu", mmap=True)["dims"])
    floor = machine.floor_seconds(dims, measured, dtype, batch, sum(lengths) / n)
    row |= {
        "seconds_per_window": seconds,
        "real_time_factor": WINDOW_SECONDS / seconds,
        "share_of_floor": floor / seconds,
        "n_tokens": n_tokens,
        "n_windows": n,
    }
    _say(f"{name}, batch {batch}: {row['real_time_factor']:.0f} times real time")
    return row


def measure(dtype: str) -> machine.Machine:
    """What the device reads and multiplies a second."""
    block = torch.ones(2**28, device="cuda")
    kind = getattr(torch, dtype)
    x = torch.randn(8192, 8192, device="cuda").to(kind)
    return machine.Machine(
        bandwidth=block.nbytes / _seconds(lambda: block.sum()),
        flops={dtype: 2 * 8192**3 / _seconds(lambda: x @ x)},
    )


def _seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(10):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(5):
            work()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - began) / 5)
    return min(times)


def _run_tests(ends: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-rs", "tests"]
    root = Path(__file__).parents[1]
    left = max(1.0, ends - time.monotonic())
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=left)
    except subprocess.TimeoutExpired:
        return {"status": -1, "output": f"not done after {left:.0f} s"}
    _say(done.stdout[-2000:])
    return {"status": done.returncode, "output": done.stdout[-4000:]}


def _print_table(found: dict[str, Any]) -> None:
    print(f"| {found['device']}, {found['dtype']} | batch | x real time | of the floor | goal |")
    print("|---|---:|---:|---:|---:|")
    for size, rows in found["sizes"].items():
        for row in rows:
            if "error" not in row:
                print(
                    f"| {size}, {row['engine']} | {row['batch']} | {row['real_time_factor']:.0f}"
                    f" | {row['share_of_floor']:.0%} | {GOALS[size]} |"
                )
    if found["left_out"]:
        print("for want of time left out: " + "; ".join(found["left_out"]))


def _write(found: dict[str, Any], path: Path | None) -> None:
    if path:
        path.write_text(json.dumps(found, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="where the numbers go, as they come")
    parser.add_argument("--minutes", type=float, default=9, help="(%(default)s)")
    parser.add_argument("--dtype", choices=("float16", "bfloat16"), default="float16")
    parser.add_argument("--sizes", type=lambda text: text.split(","), default=SIZES)
    parser.add_argument("--batches", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--folder", type=Path, default=grow.model_folder())
    parser.set_defaults(batches=[1, 4, 16, 32, 64, 128, 256])
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
