"""One cluster: parts of it die under load, then every WhisperASR is away; what came of it, as JSON.

    python -m tests.cluster.trial FAULTS SECONDS FILE

A process of its own, as tests.deploy.deployment. FAULTS are names of benchmarks.faults by commas;
of an absence of SECONDS, tests.cluster.absence tells.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.faults import try_fault
from benchmarks.local_cluster import local_cluster
from tests.cluster.absence import live_through

UPLOADS, STREAMS = 2, 4
"""At once, while parts die."""


def main() -> None:
    faults, seconds, path = sys.argv[1].split(","), float(sys.argv[2]), Path(sys.argv[3])
    # One of several that dies leaves others; where a single fault is tried, one is enough.
    n_asr, margin = (2, 8.0) if len(faults) > 1 else (1, 3.0)
    seen: dict[str, Any] = {"outcomes": []}
    with local_cluster(n_asr) as cluster:
        for fault in faults:
            outcome = try_fault(fault, cluster, UPLOADS, STREAMS, margin)
            seen["outcomes"].append(asdict(outcome))
            path.write_text(json.dumps(seen))
        seen["absence"] = live_through(cluster, n_asr, seconds)
    path.write_text(json.dumps(seen))


if __name__ == "__main__":
    main()
