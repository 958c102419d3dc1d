"""Parts of a cluster of several nodes die under load; FAULTS=all kills one of every kind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.local_service import ROOT

FAULTS = os.environ.get("FAULTS", "service-node")


@pytest.mark.ray
@pytest.mark.model
def test_what_dies_costs_nobody_a_word_or_an_upload(tmp_path: Path) -> None:
    """A node lost takes a WhisperService replica and a proxy along, and their connections."""
    found = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks.faults", "--json", str(found)]
    command += [] if FAULTS == "all" else ["--only", FAULTS, "--asr", "1", "--margin", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert found.exists(), done.stderr[-3000:]
    for outcome in json.loads(found.read_text())["outcomes"]:
        assert outcome["n_word_errors"] == 0, outcome
        assert outcome["n_broken_streams"] == 0, outcome
        assert outcome["n_failed_uploads"] == 0, outcome
        assert outcome["n_uploads"] > 0, outcome
        assert outcome["recovery"] < 120, outcome
    assert done.returncode == 0, done.stderr[-3000:]
