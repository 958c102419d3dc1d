"""Every WhisperASR is away for half a minute; ABSENCE=60 has it so for more than a minute."""

import json
from typing import Any

import pytest

from benchmarks.local_service import ROOT
from whisper_service.serving.presence import PATIENCE

pytestmark = [pytest.mark.ray, pytest.mark.model]


def test_a_lost_decoder_does_not_empty_the_service(seen: dict[str, Any]) -> None:
    assert "absence" in seen, seen["stderr"]
    absence = seen["absence"]
    spoken = json.loads((ROOT / "tests/data/digits.json").read_text())["text"]

    # Pods stay ready by /-/healthz, and alerts have /readyz.
    assert absence["probes"] == {"/-/healthz": [200], "/docs": [200]}
    assert absence["readyz"] == 503
    assert float(absence["retry_after"]) > 0

    # A file is told to come again, in the one shape.
    assert absence["uploads"]
    for upload in absence["uploads"]:
        assert (upload["code"], upload["answer"]["error"]["code"]) == (503, "unavailable")
        assert float(upload["retry_after"]) > 0
        assert upload["took"] < 3 * PATIENCE

    # A broken stream is let in again; the open one stays, and gets all its words in the end.
    assert absence["resumed"] == "ready"
    assert absence["text"].split() == spoken.split()
    for upload in (absence["usual"], absence["after"]):
        assert upload["answer"]["text"].split()[:3] == spoken.split()[:3]
