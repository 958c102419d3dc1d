"""Load goes up, replicas follow; load goes off, they go; the streams that are left go on.

    python -m benchmarks.autoscaling --json FILE --plot FILE

Deploys the manifest's application on a Ray cluster on this machine (`benchmarks.local_cluster`)
with one to two replicas of each deployment, and with the manifest's delays of minutes made
seconds. A few streams speak through all of it; uploads and more streams come and go. A word
that one of those streams loses fails the run.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.local_cluster import LocalCluster, local_cluster
from benchmarks.steady_load import SteadyLoad

DEPLOYMENTS = ("WhisperService", "WhisperASR")
LIMIT = 120.0
"""Seconds in which the replicas have to follow."""
QUICK: dict[str, Any] = {
    "min_replicas": 1,
    "max_replicas": 2,
    # Replicas report every 10 s, and Serve wants to look back on more than one report.
    "look_back_period_s": 11,
    "upscale_delay_s": 2,
    "downscale_delay_s": 10,
    "downscaling_factor": None,
}
TARGETS = {"WhisperService": 4, "WhisperASR": 2}
_N_KEPT, _N_MORE_STREAMS, _N_UPLOADS = 2, 2, 3
_HOLD = 10.0
"""Seconds of full load on all replicas."""
_TICK = 0.5


@dataclass(frozen=True, slots=True)
class Look:
    """The running replicas of each deployment at a time, in seconds from the beginning."""

    at: float
    running: dict[str, int]


class Watch:
    """Looks at the replicas again and again, and remembers what changed."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self._began = time.monotonic()
        self.looks: list[Look] = []

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    def until_all_run(self, n_replicas: int, steady_for: float = 2.0) -> float:
        """Return how many seconds it took until that many of both deployments ran, and stayed."""
        began = since = self.now

        def all_run() -> bool:
            nonlocal since
            if any(n != n_replicas for n in self._look().values()):
                since = self.now
            return self.now - since >= steady_for

        self._cluster.wait_until(all_run, LIMIT)
        return since - began

    def during(self, seconds: float) -> None:
        """Watch on for so long."""
        end = self.now + seconds
        while self.now < end:
            self._look()
            time.sleep(_TICK)

    def _look(self) -> dict[str, int]:
        states = self._cluster.replicas()
        running = {
            name: sum(states.get(name, {}).get(state, 0) for state in ("RUNNING", "UPDATING"))
            for name in DEPLOYMENTS
        }
        if not self.looks or self.looks[-1].running != running:
            self.looks.append(Look(self.now, running))
        return running


def main() -> None:
    options = _options()
    with local_cluster() as cluster:
        found = _measure(cluster)
    print(json.dumps({name: found[name] for name in found if name != "looks"}, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.plot:
        plot(found, options.plot)
    if found["n_word_errors"] or found["n_broken_streams"] or found["n_failed_uploads"]:
        raise SystemExit("something was lost")


def _measure(cluster: LocalCluster) -> dict[str, Any]:
    cluster.deploy(
        **{name: {**QUICK, "target_ongoing_requests": TARGETS[name]} for name in DEPLOYMENTS}
    )
    watch = Watch(cluster)
    watch.until_all_run(1, steady_for=QUICK["downscale_delay_s"] + _HOLD)
    with SteadyLoad(cluster.port, 0, _N_KEPT) as kept:
        load_on = watch.now
        with SteadyLoad(cluster.port, _N_UPLOADS, _N_MORE_STREAMS) as more:
            up = watch.until_all_run(2)
            _report(f"two of each after {up:.1f} s")
            watch.during(_HOLD)
        load_off = watch.now
        down = watch.until_all_run(1)
        _report(f"one of each after {down:.1f} s")
        watch.during(_HOLD)
    return {
        "cores": os.cpu_count(),
        "autoscaling": QUICK,
        "target_ongoing_requests": TARGETS,
        "load_on": round(load_on, 1),
        "seconds_up": round(up, 1),
        "load_off": round(load_off, 1),
        "seconds_down": round(down, 1),
        "n_kept_streams": _N_KEPT,
        "n_other_streams": _N_MORE_STREAMS,
        "n_resumed": kept.n_resumed + more.n_resumed,
        "n_word_errors": kept.n_word_errors + more.n_word_errors,
        "n_broken_streams": kept.n_broken_streams + more.n_broken_streams,
        "n_uploads": len(more.uploads),
        "n_failed_uploads": more.n_failed_uploads,
        "ended": round(watch.now, 1),
        "looks": [{"at": round(look.at, 1), **look.running} for look in watch.looks],
    }


def plot(found: dict[str, Any], path: Path) -> None:
    """Replicas against time, with the load's beginning and end."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    looks = [*found["looks"], {**found["looks"][-1], "at": found["ended"]}]
    times = [look["at"] for look in looks]
    for number, name in enumerate(DEPLOYMENTS):
        counts = [look[name] + 0.03 * number for look in looks]
        axes.step(times, counts, where="post", label=name)
    axes.axvspan(found["load_on"], found["load_off"], alpha=0.15, label="load")
    axes.set(xlabel="seconds", ylabel="running replicas", ylim=(0, 2.5), yticks=[0, 1, 2])
    axes.legend(loc="lower right")
    figure.savefig(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
