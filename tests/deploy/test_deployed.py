"""Each serveConfigV2 on a real Ray. One of them here; DEPLOY=file,cpu,gpu,ha tries all."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.manifests import FACE_A_NETWORK, ROOT, rayservice, serve_config

SOURCES = os.environ.get("DEPLOY", "file").split(",")


pytestmark = [pytest.mark.ray, pytest.mark.model]


def deploy(source: str, secret: str, folder: Path) -> dict[str, Any]:
    """What came of it, in a process of its own."""
    outcome = folder / "outcome.json"
    words = [sys.executable, "-m", "tests.deploy.deployment", source, secret, str(outcome)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(outcome.read_text())
    return found


def check_transcript(source: str, outcome: dict[str, Any]) -> None:
    """All replicas run, and one of each has done its part."""
    assert outcome["status"]["status"] == "RUNNING", outcome
    (application,) = serve_config(rayservice(source))["applications"]
    for deployment in application["deployments"]:
        fewest = deployment["autoscaling_config"]["min_replicas"]
        assert outcome["status"]["replicas"][deployment["name"]] >= fewest
    assert outcome["code"] == 200
    spoken = json.loads((ROOT / "tests/data/digits.json").read_text())
    assert outcome["answer"]["text"].split()[:3] == spoken["text"].split()[:3]


@pytest.mark.parametrize("source", SOURCES)
def test_with_a_secret_it_asks_for_keys_and_transcribes(source: str, tmp_path: Path) -> None:
    outcome = deploy(source, "with a Secret", tmp_path)
    check_transcript(source, outcome)
    assert (outcome["stranger"], outcome["access"], outcome["warnings"]) == (401, "keys", [])


@pytest.mark.parametrize("source", SOURCES)
def test_without_a_secret_it_transcribes_for_everybody_or_says_why_not(
    source: str, tmp_path: Path
) -> None:
    outcome = deploy(source, "without", tmp_path)
    if source in FACE_A_NETWORK:
        assert outcome["status"]["status"] == "DEPLOY_FAILED"
        assert "WHISPER_API_KEYS" in outcome["status"]["message"]
    else:
        check_transcript(source, outcome)
        assert (outcome["stranger"], outcome["access"]) == (200, "open")
        assert outcome["warnings"] == ["open_access"]
