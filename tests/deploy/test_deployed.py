"""Each serveConfigV2 on a real Ray. One of them here; DEPLOY=file,cpu,gpu,ha tries all."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.deploy.manifests import FACE_A_NETWORK, ROOT, rayservice, serve_config

SOURCES = os.environ.get("DEPLOY", "file").split(",")


pytestmark = [pytest.mark.ray, pytest.mark.model]


@pytest.fixture(scope="module", params=SOURCES)
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def outcomes(source: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came of it by the names of `SECRETS`, in a process of its own."""
    path = tmp_path_factory.mktemp("deployed") / "outcomes.json"
    words = [sys.executable, "-m", "tests.deploy.deployment", source, str(path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = json.loads(path.read_text())
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


def test_with_a_secret_it_asks_for_keys_and_transcribes(
    source: str, outcomes: dict[str, dict[str, Any]]
) -> None:
    outcome = outcomes["with a Secret"]
    check_transcript(source, outcome)
    assert (outcome["stranger"], outcome["access"], outcome["warnings"]) == (401, "keys", [])


def test_without_a_secret_it_transcribes_for_everybody_or_says_why_not(
    source: str, outcomes: dict[str, dict[str, Any]]
) -> None:
    outcome = outcomes["without"]
    if source in FACE_A_NETWORK:
        assert outcome["status"]["status"] == "DEPLOY_FAILED"
        assert "WHISPER_API_KEYS" in outcome["status"]["message"]
    else:
        check_transcript(source, outcome)
        assert (outcome["stranger"], outcome["access"]) == (200, "open")
        assert outcome["warnings"] == ["open_access"]
