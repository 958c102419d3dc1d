"""The only WhisperASR is away for half a minute; ABSENCE=60 has it so for more than a minute."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.local_service import ROOT
from whisper_service.serving.presence import PATIENCE

SECONDS = float(os.environ.get("ABSENCE", "15"))
"""It goes on until the files that were sent in them are answered, which takes twice as long."""


@pytest.mark.ray
@pytest.mark.model
def test_a_lost_decoder_does_not_empty_the_service(tmp_path: Path) -> None:
    path = tmp_path / "seen.json"
    command = [sys.executable, "-m", "tests.cluster.absence", f"{SECONDS:g}", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(path.read_text())
    spoken = json.loads((ROOT / "tests/data/digits.json").read_text())["text"]

    # Pods stay ready by /-/healthz, and alerts have /readyz.
    assert seen["probes"] == {"/-/healthz": [200], "/docs": [200]}
    assert seen["readyz"] == 503
    assert float(seen["retry_after"]) > 0

    # A file is told to come again, in the one shape.
    assert seen["uploads"]
    for upload in seen["uploads"]:
        assert (upload["code"], upload["answer"]["error"]["code"]) == (503, "unavailable")
        assert float(upload["retry_after"]) > 0
        assert upload["took"] < 3 * PATIENCE

    # A broken stream is let in again; the open one stays, and gets all its words in the end.
    assert seen["resumed"] == "ready"
    assert seen["text"].split() == spoken.split()
    for upload in (seen["usual"], seen["after"]):
        assert upload["answer"]["text"].split()[:3] == spoken.split()[:3]
