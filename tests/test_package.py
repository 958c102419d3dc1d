"""The package as it is installed: its wheel, the one command, and what it finds of its own."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.client.conftest import running
from whisper_service import __version__, cli

ROOT = Path(__file__).parents[1]
MODULES = {
    "serve": "main",
    "keys": "whisper_service.keys",
    "models": "whisper_service.models",
    "transcribe": "whisper_service.client",
    "stream": "whisper_service.client",
    "wyoming": "whisper_service.wyoming",
}
"""Each command, and what it was called before there was one."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*install, "--no-deps", "--no-index", "--target", str(folder), str(wheel)], check=True
    )
    return folder


def command(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command somewhere else than in the checkout."""
    return subprocess.run(
        [str(installed / "bin" / "whisper-streaming"), *arguments],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_wheel_holds_the_package_alone_with_the_page_the_sample_and_the_demo(
    wheel: Path,
) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assets = {"whisper_client.html", "sample.wav", "demo.pt"}
    assert {f"whisper_service/assets/{name}" for name in assets} <= names
    assert {name.split("/")[0] for name in names} == {
        "whisper_service",
        f"whisper_streaming-{__version__}.dist-info",
    }


def test_the_wheel_asks_for_what_requirements_txt_pins(installed: Path) -> None:
    (info,) = installed.glob("*.dist-info")
    distribution = Distribution.at(info)
    asked = {Requirement(line) for line in distribution.requires or ()}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = {Requirement(line) for line in lines if line and not line.startswith("#")}
    assert {each for each in asked if each.marker is None} == wanted
    assert {str(each.marker) for each in asked - wanted} == {'extra == "tracing"'}


def test_the_client_alone_is_pinned_as_in_the_service() -> None:
    lines = (ROOT / "requirements-client.txt").read_text().splitlines()
    assert set(lines[3:]) <= set((ROOT / "requirements.txt").read_text().splitlines())


def test_the_image_and_the_wheel_are_for_one_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["requires-python"] == ">=3.11"
    assert project["tool"]["ruff"]["target-version"] == "py311"


def test_the_installed_command_names_its_commands_and_its_version(installed: Path) -> None:
    done = command(installed, "--help")
    assert done.returncode == 0, done.stderr
    assert all(f" {name} " in done.stdout for name in MODULES)
    assert command(installed, "--version").stdout == f"whisper-streaming {__version__}\n"


def test_the_installed_command_transcribes(installed: Path) -> None:
    sample = installed / "whisper_service/assets/sample.wav"
    with running() as service:
        done = command(
            installed, "transcribe", str(sample), "--format", "json", "--url", service.url
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["duration"] == pytest.approx(11, abs=0.1)


def test_the_installed_service_finds_its_page(installed: Path) -> None:
    script = "from whisper_service.api import page; print(*filter(lambda p: p.is_file(), PAGES))"
    script = script.replace("PAGES", "page.PAGES")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(installed / "whisper_service/assets/whisper_client.html")


@pytest.mark.parametrize("name", MODULES)
def test_every_command_has_the_same_options_under_both_names(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    is_group = name in ("transcribe", "stream")
    arguments = [*([name] if is_group else []), "--help"]
    done = subprocess.run(
        [sys.executable, "-m", MODULES[name], *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, cli.main([name, "--help"])) == (0, 0)

    def body(text: str) -> list[str]:
        return [line for line in text.splitlines() if "Usage:" not in line]

    assert body(done.stdout) == body(capsys.readouterr().out)


@pytest.mark.parametrize("arguments", [[], ["transcrib"], ["transcribe"], ["serve", "--prt", "1"]])
def test_wrong_arguments_are_exit_code_2(arguments: list[str]) -> None:
    assert cli.main(arguments) == 2


def test_the_client_needs_neither_torch_nor_ray_nor_the_service() -> None:
    script = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'ray', 'whisper', 'fastapi',"
        " 'starlette', 'uvicorn', 'pydantic_settings', 'huggingface_hub', 'tqdm', 'filelock')));"
        "from whisper_service.cli import main; main(['stream', '--help']);"
        "sys.exit(main(['serve']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "--mic" in done.stdout
    assert done.stderr.startswith("error: This command needs the whole service")
