"""Our decode loop against openai-whisper and faster-whisper: same weights, windows and tokens.

    python -m benchmarks.engine --model tiny --against openai-whisper,faster-whisper --json FILE

Full 30 s windows, 90 ± 20 tokens each, greedy. Each engine has a process of its own, and they take
turns, round after round; medians count. Peers are run with each of their settings and compared by
their best. Needs `pip install faster-whisper matplotlib`. What stands behind the numbers:
`benchmarks/peers.py`.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
import wave
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import whisper

from benchmarks import grow, machine, peers
from benchmarks.worker import CLOCKS, Make, Worker
from whisper_service.engine.cpu import has_fast_bfloat16, has_vnni
from whisper_service.engine.precision import Dtype
from whisper_service.types import WINDOW_SECONDS, Audio

DATA = Path(__file__).parents[1] / "tests" / "data"
PAUSE = 0.5
"""Seconds between two turns: the other's threads stop spinning for work (Intel's after 0.2 s)."""
BEAM = "ours, beam search"
"""Compared with nobody but ourselves."""


@dataclass(slots=True)
class Contender:
    """One engine with one setting."""

    engine: str
    setting: str
    batch: int
    dtype: str
    make: Make
    seconds: list[float] = field(default_factory=list)
    """Per window, a number for each round."""
    n_tokens: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    checkpoint = grow.grown_checkpoint(options.model, options.folder)
    windows = peers.dense_windows(_recordings(), options.windows)
    lengths = peers.lengths_of(options.windows)
    contenders = _contenders(options, checkpoint)
    _run(contenders, windows, lengths, options)
    found = _report(contenders, checkpoint, options, sum(lengths))
    _print_table(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
        _plot(found, options.json.with_suffix(".png"))


def _contenders(options: argparse.Namespace, checkpoint: Path) -> list[Contender]:
    def our(dtype: Any, batch: int, beam: int | None = None) -> Contender:
        return Contender(
            "ours" if beam is None else BEAM,
            f"{dtype}, batch {batch}" + (f", beam {beam}" if beam else ""),
            batch,
            dtype,
            partial(peers.ours, checkpoint, dtype, batch, beam),
        )

    found = [our(dtype, batch) for dtype in options.dtypes for batch in options.batches]
    found.append(our(options.dtypes[0], 8, 5))
    if "openai-whisper" in options.against:
        found.append(_theirs_openai(checkpoint))
    if "faster-whisper" in options.against:
        from benchmarks.convert import converted  # needs CTranslate2

        folder = converted(checkpoint, checkpoint.with_suffix(".ct2"))
        kinds = [("int8", 1), ("float32", 1), ("int8", 8), ("int8", 16), ("float32", 8)]
        found += [_theirs_faster(folder, kind, n, options.threads) for kind, n in kinds]
    return found


def _theirs_openai(checkpoint: Path) -> Contender:
    return Contender(
        "openai-whisper",
        "float32, batch 1",
        1,
        "float32",
        partial(peers.openai_whisper, checkpoint),
    )


def _theirs_faster(folder: Path, kind: str, batch: int, n_threads: int) -> Contender:
    return Contender(
        "faster-whisper",
        f"{kind}, batch {batch}",
        batch,
        kind,
        partial(peers.faster_whisper, folder, kind, n_threads, batch),
    )


def _run(
    contenders: list[Contender],
    windows: list[Audio],
    lengths: list[int],
    options: argparse.Namespace,
) -> None:
    """Take turns; the first round warms up and does not count."""
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        engines: list[tuple[Worker, int]] = []
        for contender in contenders:
            name = contender.engine.partition(",")[0]
            if name not in workers:
                worker = Worker(options.threads, options.clock)
                workers[name] = stack.enter_context(worker)
            engines.append((workers[name], workers[name].make(contender.make)))
        for number in range(options.rounds + 1):
            for contender, (worker, engine) in zip(contenders, engines, strict=True):
                time.sleep(PAUSE)
                n = 2 if number == 0 else len(windows)
                seconds, counts = worker.call(engine, windows[:n], lengths[:n])
                seconds /= n
                if number:
                    contender.seconds.append(seconds)
                    contender.n_tokens = sum(counts)
                _say(f"round {number}: {contender.engine} {contender.setting}: {seconds:.3f} s")


def _report(
    contenders: list[Contender], checkpoint: Path, options: argparse.Namespace, n_tokens: int
) -> dict[str, Any]:
    for contender in contenders:
        if abs(contender.n_tokens - n_tokens) > 0.01 * n_tokens:
            raise SystemExit(
                f"{contender.engine} {contender.setting} decoded {contender.n_tokens} tokens, not"
                f" {n_tokens}: no comparison"
            )
    measured = machine.measure()
    dims = whisper.load_model(str(checkpoint), device="cpu").dims
    rows = []
    for contender in contenders:
        floor = None
        if contender.dtype in measured.flops:
            mean = n_tokens / options.windows
            floor = machine.floor_seconds(dims, measured, contender.dtype, contender.batch, mean)
        rows.append(
            {
                "engine": contender.engine,
                "setting": contender.setting,
                "batch": contender.batch,
                "seconds_per_window": contender.median,
                "lowest": min(contender.seconds),
                "highest": max(contender.seconds),
                "real_time_factor": WINDOW_SECONDS / contender.median,
                "share_of_floor": floor / contender.median if floor else None,
                "n_tokens": contender.n_tokens,
            }
        )
    return {
        "model": options.model,
        "ratios": _ratios(contenders, alone=False),
        "ratios_one_window_alone": _ratios(contenders, alone=True),
        "ratios_of_ours": _ratios_of_ours(contenders),
        "rows": rows,
        "n_windows": options.windows,
        "n_rounds": options.rounds,
        "threads": options.threads,
        "clock": options.clock,
        "machine": {
            "processor": torch.cpu.get_capabilities().get("cpu_name", platform.processor()),
            "bandwidth": measured.bandwidth,
            "flops": measured.flops,
            "load_average": os.getloadavg()[0],
        },
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def _ratios(contenders: list[Contender], *, alone: bool) -> dict[str, float]:
    """Our best over each peer's best; with `alone`, of those that take one window at a time."""
    best: dict[str, float] = {}
    for contender in contenders:
        if not alone or contender.batch == 1:
            seconds = min(best.get(contender.engine, contender.median), contender.median)
            best[contender.engine] = seconds
    return {name: seconds / best["ours"] for name, seconds in best.items() if "ours" not in name}


def _ratios_of_ours(contenders: list[Contender]) -> dict[str, float]:
    """Costs of a window against each other, in the first of our settings."""
    dtype = contenders[0].dtype
    ours = {c.batch: c.median for c in contenders if (c.engine, c.dtype) == ("ours", dtype)}
    beam = next(c.median for c in contenders if c.engine == BEAM)
    found = {"beam 5 over greedy": beam / ours[8]} if 8 in ours else {}
    if {1, 8} <= ours.keys():
        found["batch 8 over 1"] = ours[8] / ours[1]
    return found


def _print_table(found: dict[str, Any]) -> None:
    print(f"| {found['model']} | s per window | lowest-highest | x real time | of the floor |")
    print("|---|---|---|---|---|")
    for row in found["rows"]:
        share = "" if row["share_of_floor"] is None else f"{row['share_of_floor']:.0%}"
        print(
            f"| {row['engine']} {row['setting']} | {row['seconds_per_window']:.3f}"
            f" | {row['lowest']:.3f}-{row['highest']:.3f} | {row['real_time_factor']:.0f}"
            f" | {share} |"
        )
    print(json.dumps({k: v for k, v in found.items() if k.startswith("ratios")}))


def _plot(found: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    rows = found["rows"]
    figure = Figure(figsize=(8, 0.4 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    colours = {
        "ours": "tab:green",
        BEAM: "tab:olive",
        "openai-whisper": "tab:gray",
        "faster-whisper": "tab:blue",
    }
    axes.barh(
        [f"{row['engine']} {row['setting']}" for row in rows],
        [row["real_time_factor"] for row in rows],
        color=[colours[row["engine"]] for row in rows],
    )
    axes.invert_yaxis()
    axes.set_xlabel(f"times real time, {found['model']}, {found['threads']} threads")
    figure.savefig(path)


def _recordings() -> list[Audio]:
    """The English test recordings, without the silence around them."""
    found = []
    for path in sorted(DATA.glob("en*.wav")):
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        audio: Audio = (samples / 32768).astype(np.float32)
        loud = np.flatnonzero(np.abs(audio) > 0.02)
        found.append(audio[loud[0] : loud[-1] + 1])
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", choices=grow.SIZES, default="tiny")
    parser.add_argument("--against", type=lambda text: text.split(","), default=[])
    parser.add_argument("--json", type=Path, help="where the numbers go; a plot goes beside them")
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument(
        "--dtypes", type=lambda text: text.split(","), help="ours; all the processor is fast with"
    )
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, default=grow.model_folder())
    parser.set_defaults(batches=[1, 8, 16], dtypes=_dtypes())
    return parser.parse_args()


def _dtypes() -> list[Dtype]:
    """What this processor is fast with."""
    coarse: list[tuple[Dtype, bool]] = [("int8", has_vnni()), ("bfloat16", has_fast_bfloat16())]
    return [*(dtype for dtype, is_fast in coarse if is_fast), "float32"]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
