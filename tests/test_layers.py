"""The table of imports: each layer knows only what is below it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "whisper_service"

BELOW = {
    "types": set(),
    "errors": set(),
    "languages": set(),
    "settings": set(),
    "keys": {"settings", "command"},
    "tracing": {"settings"},
    "formats": {"types"},
    "models": {"types", "errors", "settings", "command"},
    "jobs": {"types", "errors"},
    "audio": {"types", "errors"},
    "policy": {"types", "errors", "audio"},
    "engine": {"types", "errors", "languages", "settings", "models"},
    "api": {
        *("types", "errors", "languages", "settings", "keys", "tracing"),
        *("formats", "audio", "policy", "models", "jobs"),
    },
    "serving": {
        "types",
        "errors",
        "languages",
        "settings",
        "keys",
        "tracing",
        "models",
        "engine",
        "api",
        "command",
    },
    "client": {"types", "errors", "formats", "audio", "command"},
    "wyoming": {"types", "errors", "audio", "client", "command"},
    "command": set(),
    "cli": {"command", "client", "keys", "models", "serving", "wyoming"},
    "main": {"serving"},
}
"""What a layer may import of the package. From the top: main, serving, api and engine, policy,
then audio; everyone may use the vocabulary."""

WEB = {"fastapi", "starlette", "uvicorn", "sse_starlette", "websockets"}
MODEL = {"torch", "whisper", "tiktoken", "triton"}
IO = {"asyncio", "anyio", "threading", "subprocess", "socket", "multiprocessing"}
CLOCK = {"time", "datetime"}

REFUSED = {
    "types": WEB | MODEL | IO | CLOCK | {"ray", "pydantic"},
    "errors": WEB | MODEL | IO | CLOCK | {"ray", "pydantic"},
    "languages": WEB | MODEL | IO | CLOCK | {"ray", "pydantic"},
    "settings": WEB | MODEL | IO | CLOCK | {"ray"},
    "keys": WEB | MODEL | {"asyncio", "anyio", "ray"},
    "tracing": WEB | MODEL | IO | {"ray"},
    "formats": WEB | MODEL | IO | CLOCK | {"ray", "pydantic"},
    "models": WEB | MODEL | {"ray", "pydantic", "asyncio", "anyio"},
    "jobs": WEB | MODEL | {"asyncio", "anyio", "ray"},
    "audio": WEB | MODEL | {"ray"},
    "policy": WEB | MODEL | IO | CLOCK | {"ray", "pydantic"},
    "engine": WEB | {"ray", "asyncio", "anyio"},
    "api": MODEL | {"ray"},
    "serving": {"whisper"},
    "client": MODEL | {"ray", "fastapi", "starlette", "uvicorn"},
    "wyoming": MODEL | {"ray", "fastapi", "starlette", "uvicorn"},
    "command": WEB | MODEL | IO | CLOCK | {"ray", "pydantic"},
    "cli": WEB | MODEL | IO | CLOCK | {"ray", "pydantic"},
    "main": MODEL | WEB | {"ray"},
}
"""What it may import of nobody."""


def modules() -> list[Path]:
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    return [*files, *(path for path in [ROOT / "main.py"] if path.exists())]


def layer_of(path: Path) -> str:
    """`api` for whisper_service/api/app.py, `types` for whisper_service/types.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if len(parts) == 1 else parts[1]


def imports(tree: ast.AST) -> Iterator[str]:
    """Every imported module's dotted name, in functions and under `if` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide the layer"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(layer: str, tree: ast.AST) -> list[str]:
    found = []
    for name in imports(tree):
        first, *rest = name.split(".")
        is_above = first == PACKAGE and rest[0] not in BELOW[layer] | {layer, "__version__"}
        if is_above or first in REFUSED[layer] or first == "main":
            found.append(name)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_is_below_it(path):
    if path == ROOT / PACKAGE / "__init__.py":
        return
    layer = layer_of(path)
    assert layer in BELOW, f"{layer} is a new layer: add it to the tables of this test"
    assert violations(layer, ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ("api", "import torch"),
        ("api", "from ray import serve"),
        ("api", "def f():\n    import whisper.tokenizer"),
        ("policy", "import asyncio"),
        ("policy", "from time import monotonic"),
        ("policy", "from whisper_service.api.app import create_app"),
        ("engine", "import asyncio"),
        ("engine", "from fastapi import FastAPI"),
        ("engine", "from whisper_service import serving"),
        ("audio", "from whisper_service.policy.stream_events import Done"),
        ("types", "import whisper_service.errors"),
        ("serving", "import main"),
    ],
)
def test_the_table_is_held(layer, line):
    assert violations(layer, ast.parse(line))


def test_only_serving_imports_ray():
    assert [layer for layer in REFUSED if "ray" not in REFUSED[layer]] == ["serving"]


def test_no_layer_is_above_itself():
    """The table has no circle, or "down" would mean nothing."""
    order: list[str] = []
    while len(order) < len(BELOW):
        free = [layer for layer in BELOW if layer not in order and BELOW[layer] <= set(order)]
        assert free, set(BELOW) - set(order)
        order += free


def test_importing_the_api_brings_no_torch():
    """What the walk cannot see: a dependency that drags torch or Ray in."""
    script = (
        "import sys, whisper_service.api.app;"
        "print(*sorted({'torch', 'ray', 'whisper'} & set(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == ""
