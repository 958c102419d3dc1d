"""The README's examples, run as printed against the running service (only the port differs)."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.service import ROOT, Service

pytestmark = pytest.mark.ray

SAMPLE_START = "one two three"


def blocks(language: str) -> list[str]:
    """Return the README's fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


def run(command: list[str], service: Service) -> str:
    here = [part.replace("localhost:8000", f"localhost:{service.port}") for part in command]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `python` is this one
    return subprocess.run(
        here,
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


@pytest.mark.parametrize("example", blocks("bash"))
def test_shell_examples_print_a_transcript(service: Service, example: str) -> None:
    assert SAMPLE_START in run(["bash", "-ec", example], service)


@pytest.mark.parametrize("example", blocks("python"))
def test_python_examples_print_a_transcript(service: Service, example: str) -> None:
    assert SAMPLE_START in run([sys.executable, "-c", example], service)
