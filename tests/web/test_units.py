"""The modules of web/ by node's own test runner, without a browser: node --test tests/web/*.mjs"""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OLDEST_NODE = 20


def find_node() -> str:
    """Its path; skips the test where there is none that is new enough."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the PATH")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"node is {version.strip()}, and its test runner needs {OLDEST_NODE}")
    return node


def test_the_pages_modules() -> None:
    tests = sorted(HERE.glob("*.test.mjs"))
    assert tests
    command = [find_node(), "--test", "--test-reporter=tap", *map(str, tests)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
