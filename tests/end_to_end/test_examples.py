"""The scripts of examples/, each run as printed in it, with the client it is for.

A client that is not installed is skipped. `EXAMPLES_PYTHON` names another interpreter that has it:
requirements-examples.txt is best installed into an environment of its own.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.local_service import free_port
from tests.end_to_end.service import ROOT, Service

pytestmark = [pytest.mark.ray, pytest.mark.real]

PYTHON = os.environ.get("EXAMPLES_PYTHON", sys.executable)
EXAMPLES = {
    "openai_python.py": (2, "openai"),
    "openai_realtime.py": (1, "openai", "soxr"),
    "deepgram_python.py": (1, "deepgram"),
    "livekit_agents.py": (2, "livekit.plugins.openai", "livekit.plugins.deepgram"),
    "pipecat_stt.py": (3, "pipecat", "deepgram", "openai"),
    "langchain_loader.py": (1, "langchain_community", "pydub", "openai"),
    "open_webui.py": (1, "aiohttp"),
}
"""How many times each tells the text, and what it imports."""
WORDS = "countrycandoforyouaskwhatyoucandofor"
"""Of the sample: letters that files and streams, cut anywhere, have in common."""


def run(*command: str) -> str:
    """What a command prints, which has to end well."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def n_told(output: str) -> int:
    """How often the words of the sample were printed, without who printed them."""
    text = re.sub(r"^\S+: ", "", output, flags=re.M)
    return re.sub(r"[^a-z]", "", text.lower()).count(WORDS)


def need(*modules: str) -> None:
    """Skips the test where a module is missing."""
    script = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    done = subprocess.run([PYTHON, "-c", script, *modules], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"requirements-examples.txt is not installed: {done.stderr.splitlines()[-1]}")


@pytest.fixture(scope="module")
def printed(service: Service) -> Iterator[dict[str, Future[str]]]:
    """What each prints that can run: some speak as slowly as a person, so two go on at once."""

    def output(name: str) -> str:
        need(*map(str, EXAMPLES[name][1:]))
        return run(PYTHON, f"examples/{name}", "whisper_service/assets/sample.wav", service.http)

    with ThreadPoolExecutor(2) as threads:
        yield {name: threads.submit(output, name) for name in EXAMPLES}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_prints_what_is_said(printed: dict[str, Future[str]], name: str) -> None:
    output = printed[name].result()
    assert n_told(output) == EXAMPLES[name][0], output


def test_the_example_for_node_prints_what_is_said(service: Service) -> None:
    """Read from standard input, it finds its packages in the folder it runs in."""
    node, folder = shutil.which("node"), Path(os.environ.get("EXAMPLES_NODE", ROOT))
    if node is None or not (folder / "node_modules" / "openai").is_dir():
        pytest.skip("node, or its package openai in the folder EXAMPLES_NODE, is not there")
    script = (ROOT / "examples" / "openai_node.mjs").read_text()
    sample = ROOT / "whisper_service" / "assets" / "sample.wav"
    done = subprocess.run(
        [node, "--input-type=module", "-", str(sample), service.http],
        cwd=folder,
        input=script,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert n_told(done.stdout) == 2, done.stdout


@pytest.fixture
def bridge(service: Service) -> Iterator[int]:
    """The port of a bridge for Home Assistant before the service."""
    port = free_port()
    uri = f"tcp://127.0.0.1:{port}"
    command = [sys.executable, "-m", "whisper_service.wyoming", "--uri", uri, "--url", service.http]
    with subprocess.Popen(command, cwd=ROOT) as process:
        yield port
        process.terminate()


def test_home_assistants_own_integration_transcribes(bridge: int) -> None:
    need("homeassistant.components.wyoming.stt")
    sample = "whisper_service/assets/sample.wav"
    output = run(PYTHON, "examples/home_assistant.py", sample, "127.0.0.1", str(bridge))
    assert "whisper-streaming: base" in output
    assert n_told(output) == 1, output


def test_every_example_is_tried() -> None:
    scripts = {path.name for path in (ROOT / "examples").iterdir() if path.is_file()}
    assert scripts == {*EXAMPLES, "openai_node.mjs", "home_assistant.py"}
