"""A cluster of several nodes, once for all tests of what it lives through."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.faults import FAULTS
from benchmarks.local_service import ROOT

TRIED = os.environ.get("FAULTS", "service-node")
"""FAULTS=all kills one of every kind."""
ABSENCE = os.environ.get("ABSENCE", "15")
"""Seconds; it goes on until the files that were sent in them are answered, which takes twice as
long. ABSENCE=60 has it so for more than a minute."""


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of it: `outcomes` of the faults, and the `absence` where the cluster got so far."""
    path = tmp_path_factory.mktemp("cluster") / "seen.json"
    faults = ",".join(FAULTS) if TRIED == "all" else TRIED
    command = [sys.executable, "-m", "tests.cluster.trial", faults, ABSENCE, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1300)
    assert path.exists(), done.stderr[-3000:]
    found: dict[str, Any] = json.loads(path.read_text())
    return {**found, "stderr": done.stderr[-3000:], "n_wanted": len(faults.split(","))}
