"""The manifests as objects: as they lie in the repository, and as kustomize renders them."""

import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = ("cpu", "gpu", "ha")
ROLE = "whisper-streaming/role"

Manifest = dict[str, Any]


@functools.cache
def load(path: Path) -> tuple[Manifest, ...]:
    """Every document of a YAML file."""
    return tuple(document for document in parse(path.read_text()) if document)


def parse(text: str) -> list[Manifest]:
    """By libyaml where PyYAML has it: ten times as fast."""
    return list(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


@functools.cache
def render(overlay: str) -> tuple[Manifest, ...]:
    """Everything `kubectl apply -k deploy/overlays/OVERLAY` would send."""
    command = shutil.which("kustomize"), shutil.which("kubectl")
    if not any(command):
        pytest.skip("neither kustomize nor kubectl is installed")
    words = [command[0], "build"] if command[0] else [command[1], "kustomize"]
    done = subprocess.run(
        [*map(str, words), str(DEPLOY / "overlays" / overlay)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return tuple(parse(done.stdout))


def one(manifests: tuple[Manifest, ...], kind: str) -> Manifest:
    """The only manifest of a kind."""
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def rayservice(source: str) -> Manifest:
    """The RayService of an overlay, or of the one file at the top for `file`."""
    if source == "file":
        return one(load(ROOT / "whisper-rayservice.yaml"), "RayService")
    return one(render(source), "RayService")


def serve_config(service: Manifest) -> Manifest:
    """What is in the string that Serve gets."""
    (config,) = parse(service["spec"]["serveConfigV2"])
    return config


def pod_specs(manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Name and spec of every pod a manifest makes."""
    if manifest["kind"] == "RayService":
        cluster = manifest["spec"]["rayClusterConfig"]
        yield "head", cluster["headGroupSpec"]["template"]["spec"]
        for group in cluster["workerGroupSpecs"]:
            yield group["groupName"], group["template"]["spec"]
    elif manifest["kind"] in ("Job", "StatefulSet"):
        yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]
