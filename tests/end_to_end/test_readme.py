"""The examples of README and docs, run as printed against the running service (but for the port).

Each prints what its page says, but for what the arithmetic of a processor, or when a microphone's
next frame came, may change: numbers, case and punctuation, and partial text of a stream. All of the
README's are run, of other pages those below the comment `<!-- run -->`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.service import ROOT, Service

pytestmark = [pytest.mark.ray, pytest.mark.real]

EXAMPLE = r"```{language}\n(.*?)```\n\n```(?:json|srt|text)\n(.*?)```"
MARK = "<!-- run -->\n"


def examples(language: str) -> list[tuple[str, str]]:
    """The commands of all pages in a language, each with what is printed under it."""
    example = EXAMPLE.replace("{language}", language)
    readme = (ROOT / "README.md").read_text()
    found = re.findall(example, readme, re.S)
    assert len(found) == readme.count(f"```{language}\n")
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text()
        marked = re.findall(MARK + example, text, re.S)
        assert len(marked) == text.count(f"{MARK}```{language}\n")
        found += marked
    return found


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
        timeout=120,
    ).stdout


def bare(output: str) -> str:
    """Nothing but letters: how a stream's text is cut into finals is not for certain either."""
    return "".join(re.findall(r"[a-z]", output.lower()))


def assert_printed(output: str, promised: str) -> None:
    """That all is there that a page prints, in its order, whatever it leaves out by `…`."""
    at, output = 0, bare(output)
    for part in map(bare, promised.split("…")):
        assert part in output[at:]
        at = output.index(part, at) + len(part)


@pytest.mark.parametrize(("example", "promised"), examples("bash"))
def test_shell_examples_print_what_is_said(service: Service, example: str, promised: str) -> None:
    assert_printed(run(["bash", "-ec", example], service), promised)


@pytest.mark.parametrize(("example", "promised"), examples("python"))
def test_python_examples_print_what_is_said(service: Service, example: str, promised: str) -> None:
    output = run([sys.executable, "-c", example], service)
    finals = re.sub(r"^ {6}.*\n", "", output, flags=re.M)
    assert_printed(finals, re.sub(r"^ {6}.*\n", "", promised, flags=re.M))
