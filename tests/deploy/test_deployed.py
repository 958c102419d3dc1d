"""Each serveConfigV2 on a real Ray. One of them here; DEPLOY=file,cpu,gpu,ha tries all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.manifests import ROOT, rayservice, serve_config

SOURCES = os.environ.get("DEPLOY", "file").split(",")


@pytest.mark.ray
@pytest.mark.model
@pytest.mark.parametrize("source", SOURCES)
def test_it_deploys_lets_in_whom_it_should_and_transcribes(source: str, tmp_path: Path) -> None:
    outcome = tmp_path / "outcome.json"
    words = [sys.executable, "-m", "tests.deploy.deployment", source, str(outcome)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(outcome.read_text())
    assert told["status"]["status"] == "RUNNING", told
    (application,) = serve_config(rayservice(source))["applications"]
    for deployment in application["deployments"]:
        fewest = deployment["autoscaling_config"]["min_replicas"]
        assert told["status"]["replicas"][deployment["name"]] >= fewest
    asks_for_keys = application["args"].get("require_keys") != "off"
    assert told["stranger"] == (401 if asks_for_keys else 200)
    assert told["code"] == 200
    spoken = json.loads((ROOT / "tests/data/digits.json").read_text())
    assert told["answer"]["text"].split()[:3] == spoken["text"].split()[:3]
