"""What manifests, Dockerfile and code say of the same thing: images, ports, paths, names."""

import importlib
import re
import subprocess
import sys

import pytest

from tests.api.fakes import FakeDecoder
from tests.deploy.manifests import (
    DEPLOY,
    OVERLAYS,
    ROOT,
    Manifest,
    one,
    pod_specs,
    rayservice,
    render,
    serve_config,
)
from whisper_service.api.app import create_app
from whisper_service.serving.cuda import LEAST_DRIVER
from whisper_service.settings import Settings

DOCKERFILE = (ROOT / "Dockerfile").read_text()
DEFAULTS = Settings()
EXPOSED = {int(port) for port in re.findall(r"\d+", re.findall(r"^EXPOSE .*", DOCKERFILE, re.M)[0])}


@pytest.fixture(params=["file", *OVERLAYS])
def service(request: pytest.FixtureRequest) -> Manifest:
    return rayservice(request.param)


@pytest.fixture(scope="module")
def paths() -> set[str]:
    """What the service answers to a GET, and what Serve's proxy does by itself."""
    described = create_app(Settings(), FakeDecoder()).openapi()["paths"]
    return {path for path, methods in described.items() if "get" in methods} | {"/-/healthz"}


def ports(spec: Manifest) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in spec["containers"][0]["ports"]}


def test_the_port_of_http_is_one_everywhere(service: Manifest) -> None:
    configured = serve_config(service)["http_options"]["port"]
    named = {ports(spec)["serve"] for _, spec in pod_specs(service)}
    assert named == {configured} == {DEFAULTS.port}
    assert configured in EXPOSED


def test_the_dashboards_port_is_one_everywhere(service: Manifest) -> None:
    named = [ports(spec)["dashboard"] for name, spec in pod_specs(service) if name == "head"]
    assert named == [DEFAULTS.dashboard_port]
    assert {DEFAULTS.port, DEFAULTS.dashboard_port} == EXPOSED


def test_what_serve_imports_is_in_the_image(service: Manifest) -> None:
    (application,) = serve_config(service)["applications"]
    module, _, name = application["import_path"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    copied = re.findall(r"^COPY (?!--from|locks)(.*) \S+$", DOCKERFILE, re.M)
    assert {f"{module}.py", "whisper_service"} <= set(" ".join(copied).split())
    for source in " ".join(copied).split():
        assert (ROOT / source).exists(), source
    allowed = (ROOT / ".dockerignore").read_text().split()
    for source in (*" ".join(copied).split(), "locks"):
        assert f"!{source}" in allowed, source


def test_every_path_that_somebody_probes_is_answered(paths: set[str]) -> None:
    asked = set(re.findall(r"http://127\.0\.0\.1:8000(/[\w/-]+)", DOCKERFILE))
    ingress = one(render("gpu"), "Ingress")
    asked.add(ingress["metadata"]["annotations"]["alb.ingress.kubernetes.io/healthcheck-path"])
    for overlay in OVERLAYS:
        for name, spec in pod_specs(rayservice(overlay)):
            if name != "head":  # whose probe is the operator's
                asked.add(spec["containers"][0]["readinessProbe"]["httpGet"]["path"])
    assert asked == {"/healthz", "/-/healthz"}
    assert asked <= paths


def test_images_are_this_ones_or_have_a_version() -> None:
    others = set()
    for overlay in OVERLAYS:
        for manifest in render(overlay):
            for _, spec in pod_specs(manifest):
                images = {container["image"] for container in spec["containers"]}
                others |= {image for image in images if "/whisper-streaming:" not in f"/{image}"}
    assert all(re.search(r":\d+\.\d+", image) for image in others), others
    assert "docker build -t whisper-streaming:latest" in (ROOT / "README.md").read_text()


def test_the_driver_that_torchs_cuda_needs_is_told_where_nodes_are_chosen() -> None:
    (cuda,) = re.findall(r"^cuda-toolkit==(\d+)\.", (ROOT / "locks/torch.txt").read_text(), re.M)
    least = LEAST_DRIVER[cuda]
    for path in ("Dockerfile", "README.md", "docs/deploy-eks.md"):
        assert re.search(
            rf"driver.{{0,30}}\b{least} or\s+newer", (ROOT / path).read_text(), re.S
        ), path


def test_the_job_that_fills_the_volume_runs_as_it_is_written() -> None:
    spec = dict(pod_specs(one(render("gpu"), "Job")))["whisper-models"]
    python, *words, _, _ = spec["containers"][0]["command"]
    assert python == "python"
    done = subprocess.run(
        [sys.executable, *words, "demo"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip().endswith("demo.pt"), done.stderr
    mounts = {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    assert "/models" in mounts
    assert re.search(r"WHISPER_MODEL_DIR=/models\b", DOCKERFILE)


def test_every_file_of_deploy_is_used_or_explained() -> None:
    told = (ROOT / "README.md").read_text() + "".join(
        path.read_text() for path in (ROOT / "docs").glob("*.md")
    )
    for overlay in OVERLAYS:
        assert f"`{overlay}`" in told
    for path in (DEPLOY / "eks").glob("*.yaml"):
        assert path.name in told
