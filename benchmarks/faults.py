"""What dies under load, and what its users notice: a replica, a node, a proxy, the controller.

    python -m benchmarks.faults --json FILE
    python -m benchmarks.faults --only update,controller

Deploys the manifest's application on a Ray cluster of five nodes on this machine
(`benchmarks.local_cluster`), keeps uploads and live streams going, and ends one part after the
other with SIGKILL: the last fault's load has to end well before the next begins. `update` changes
an argument of the application instead, which replaces every replica. A transcript that lacks a
word, or an upload that is not answered in the end, fails the run.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.local_cluster import LocalCluster, local_cluster
from benchmarks.steady_load import SteadyLoad

RECOVERY_LIMIT = 120.0
"""Seconds in which all that ran before has to run again."""


def _kill(title: str) -> Callable[[LocalCluster], None]:
    def kill(cluster: LocalCluster) -> None:
        os.kill(cluster.processes(title)[0], signal.SIGKILL)

    return kill


def _lose_node(kind: str) -> Callable[[LocalCluster], None]:
    def lose(cluster: LocalCluster) -> None:
        cluster.kill_node(kind)
        cluster.add_node(kind)  # as the operator starts another pod

    return lose


def _update(cluster: LocalCluster) -> None:
    cluster.deploy({"max_streams": 23})


FAULTS: dict[str, tuple[str, Callable[[LocalCluster], None]]] = {
    "replica": ("a WhisperASR replica is killed", _kill("ServeReplica:whisper:WhisperASR")),
    "ingress": ("a WhisperService replica is killed", _kill("ServeReplica:whisper:WhisperService")),
    "asr-node": ("a node with a WhisperASR is lost, another comes", _lose_node("asr")),
    "service-node": ("a node for WhisperService is lost, another comes", _lose_node("service")),
    "proxy": ("a node's proxy is killed", _kill("ProxyActor")),
    "controller": ("Serve's controller is killed", _kill("ServeController")),
    "update": ("rolling update of every replica", _update),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one fault did; times in seconds."""

    fault: str
    recovery: float
    """From the fault until all replicas and proxies ran again."""
    usual_upload: float
    """What an upload took that was answered before the fault, at the median."""
    first_upload: float
    """From the fault until an upload that began after it was answered."""
    longest_silence: float
    """Of the stream it troubled most, between two messages."""
    n_streams: int
    n_resumed: int
    n_word_errors: int
    n_broken_streams: int
    n_uploads: int
    n_broken: int
    """Times an upload's connection broke, and it was sent again."""
    n_refused: int
    """Times an upload was told to come later, and did."""
    n_failed_uploads: int

    @property
    def is_good(self) -> bool:
        return not (self.n_word_errors or self.n_broken_streams or self.n_failed_uploads)


def main() -> None:
    options = _options()
    outcomes = []
    with local_cluster(n_asr=options.asr) as cluster:
        _report("the cluster runs")
        for fault in options.only:
            outcomes.append(
                try_fault(fault, cluster, options.uploads, options.streams, options.margin)
            )
            _report(table(outcomes).splitlines()[-1])
    print(table(outcomes))
    if options.json:
        facts = {"cores": os.cpu_count(), "uploads": options.uploads, "streams": options.streams}
        found = {**facts, "outcomes": [asdict(outcome) for outcome in outcomes]}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if bad := [outcome.fault for outcome in outcomes if not outcome.is_good]:
        raise SystemExit(f"not whole after: {', '.join(bad)}")


def try_fault(
    fault: str, cluster: LocalCluster, n_uploads: int, n_streams: int, margin: float
) -> Outcome:
    """One of `FAULTS` under load that goes on for `margin` seconds before it and after recovery."""
    with SteadyLoad(cluster.port, n_uploads, n_streams) as load:
        time.sleep(margin)
        at = time.monotonic()
        FAULTS[fault][1](cluster)
        # Serve notices what died after a moment, and calls all of it running until then.
        cluster.wait_until(lambda: not cluster.is_whole(), RECOVERY_LIMIT)
        cluster.wait_until(cluster.is_whole, RECOVERY_LIMIT)
        recovery = time.monotonic() - at
        time.sleep(margin)
    return _summarise(fault, load, at, recovery)


def _summarise(fault: str, load: SteadyLoad, at: float, recovery: float) -> Outcome:
    before = [upload.ended - upload.began for upload in load.uploads if upload.ended < at]
    after = [upload.ended - at for upload in load.uploads if upload.began > at]
    return Outcome(
        fault=fault,
        recovery=round(recovery, 1),
        usual_upload=round(statistics.median(before), 1) if before else RECOVERY_LIMIT,
        first_upload=round(min(after, default=RECOVERY_LIMIT), 1),
        longest_silence=round(max(stream.longest_silence(at) for stream in load.streams), 1),
        n_streams=len(load.streams),
        n_resumed=load.n_resumed,
        n_word_errors=load.n_word_errors,
        n_broken_streams=load.n_broken_streams,
        n_uploads=len(load.uploads),
        n_broken=sum(upload.n_broken for upload in load.uploads),
        n_refused=sum(upload.n_refused for upload in load.uploads),
        n_failed_uploads=load.n_failed_uploads,
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as Markdown."""
    rows = [
        "| under load | all runs again | a new upload is answered (usually) | longest silence of a"
        " stream | streams that connected again | word errors | uploads sent again | told to come"
        " later | failed or wrong |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for found in outcomes:
        failed = found.n_failed_uploads + found.n_broken_streams
        rows.append(
            f"| {FAULTS[found.fault][0]} | {found.recovery:g} s | {found.first_upload:g} s"
            f" ({found.usual_upload:g} s)"
            f" | {found.longest_silence:g} s | {found.n_resumed} of {found.n_streams}"
            f" | {found.n_word_errors} | {found.n_broken} of {found.n_uploads}"
            f" | {found.n_refused} | {failed} |"
        )
    return "\n".join(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", type=_faults, default=list(FAULTS), help="of " + ",".join(FAULTS))
    parser.add_argument("--uploads", type=int, default=2, help="at once (%(default)s)")
    parser.add_argument("--streams", type=int, default=4, help="(%(default)s)")
    parser.add_argument(
        "--margin", type=float, default=8.0, help="seconds before a fault and after (%(default)s)"
    )
    parser.add_argument("--asr", type=int, default=2, help="WhisperASR replicas (%(default)s)")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _faults(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(FAULTS):
        raise argparse.ArgumentTypeError(f"no fault is called {', '.join(unknown)}")
    return names


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
