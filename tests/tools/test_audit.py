"""What is said of the advisory database's answers; pip-audit itself is scripted."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tools.audit import CLEAN, FAILED, UNREACHED, audit

FINE = {"name": "a", "version": "1", "vulns": []}
WEAK = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


def answer(*packages: dict[str, object], said: str = "") -> CompletedProcess[str]:
    text = json.dumps({"dependencies": packages}) if packages else ""
    return CompletedProcess([], 0, text, said)


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (answer(FINE, FINE), CLEAN, "2 packages audited, 0 known weaknesses"),
        (answer(FINE, WEAK), FAILED, "b 2: PYSEC-1, fixed in: 3"),
        (answer(FINE, UNKNOWN), CLEAN, "not looked up: c"),
        (answer(UNKNOWN, UNKNOWN), UNREACHED, "NOT AUDITED"),
        (answer(said="requests.exceptions.ConnectionError: no route"), UNREACHED, "no route"),
        (answer(said="package a has duplicate requirements"), FAILED, "duplicate"),
    ],
)
def test_clean_is_only_what_was_looked_up(
    given: CompletedProcess[str], status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(lambda _: given) == status
    assert told in capsys.readouterr().out


def test_every_lock_is_asked_for() -> None:
    asked = []

    def run(words: list[str]) -> CompletedProcess[str]:
        asked.append(Path(words[-1]).read_text())
        return answer(FINE)

    audit(run)
    for name in ("setuptools", "torch", "ray"):
        assert f"\n{name}==" in asked[0]
