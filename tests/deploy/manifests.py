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
OVERLAYS = ("cpu", "gpu", "ha", "spot", "one-gpu")
FACE_A_NETWORK = ("gpu", "ha", "spot", "one-gpu")
"""Overlays with a load balancer in front."""
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
def render(overlay: str, deploy: Path = DEPLOY) -> tuple[Manifest, ...]:
    """Everything `kubectl apply -k DEPLOY/overlays/OVERLAY` would send."""
    command = shutil.which("kustomize"), shutil.which("kubectl")
    if not any(command):
        pytest.skip("neither kustomize nor kubectl is installed")
    words = [command[0], "build"] if command[0] else [command[1], "kustomize"]
    done = subprocess.run(
        [*map(str, words), str(deploy / "overlays" / overlay)],
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


def environment(service: Manifest, secret: dict[str, str]) -> dict[str, str]:
    """The variables of every Ray container, where the Secret holds these keys.

    A key that is not there leaves its variable unset, as in Kubernetes; raises KeyError where the
    manifest needs it, since such a pod does not start.
    """
    _, spec = next(pod_specs(service))
    given = {}
    for variable in spec["containers"][0]["env"]:
        source = variable.get("valueFrom", {}).get("secretKeyRef")
        if source is None:
            given[variable["name"]] = variable["value"]
        elif source["key"] in secret or not source.get("optional"):
            given[variable["name"]] = secret[source["key"]]
    return given


def pod_specs(manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Name and spec of every pod a manifest makes."""
    if manifest["kind"] == "RayService":
        cluster = manifest["spec"]["rayClusterConfig"]
        yield "head", cluster["headGroupSpec"]["template"]["spec"]
        for group in cluster["workerGroupSpecs"]:
            yield group["groupName"], group["template"]["spec"]
    elif manifest["kind"] in ("Job", "StatefulSet"):
        yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]
