"""Every pod of every overlay: restricted, and what it names is in the image and in the code."""

import re
from pathlib import Path

import pytest

from tests.deploy.manifests import (
    FACE_A_NETWORK,
    OVERLAYS,
    ROLE,
    ROOT,
    Manifest,
    pod_specs,
    rayservice,
    render,
)
from whisper_service.settings import Settings

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def pods(source: str) -> list[tuple[str, Manifest]]:
    manifests = [rayservice("file")] if source == "file" else render(source)
    return [pod for manifest in manifests for pod in pod_specs(manifest)]


def containers(source: str) -> list[Manifest]:
    return [container for _, spec in pods(source) for container in spec["containers"]]


@pytest.fixture(params=["file", *OVERLAYS])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_restricted_pod_security_standard_is_met(source: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, level restricted."""
    for _, spec in pods(source):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        allowed = {"emptyDir", "persistentVolumeClaim", "configMap", "secret", "projected"}
        for volume in spec.get("volumes", []):
            assert volume.keys() - {"name"} <= allowed
        for container in spec["containers"]:
            _check_restricted(container["securityContext"])
            assert not any("hostPort" in port for port in container.get("ports", []))
    autoscaler = rayservice(source)["spec"]["rayClusterConfig"]["autoscalerOptions"]
    _check_restricted(autoscaler["securityContext"])


def _check_restricted(context: Manifest) -> None:
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["readOnlyRootFilesystem"] is True  # ours; the standard leaves it open


def test_what_is_written_to_is_a_bounded_volume(source: str) -> None:
    for name, spec in pods(source):
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for volume in volumes.values():
            assert volume.get("emptyDir", {"sizeLimit": 1})["sizeLimit"]
        if "redis" not in name:
            mounts = {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
            assert "/tmp" in mounts


def test_every_container_has_requests_and_a_memory_limit(source: str) -> None:
    for container in containers(source):
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys()
        assert "memory" in resources["limits"]


def test_every_variable_is_a_setting(source: str) -> None:
    for container in containers(source):
        for variable in container.get("env", []):
            if variable["name"].startswith("WHISPER_"):
                field = variable["name"].removeprefix("WHISPER_").lower()
                assert field in Settings.model_fields, variable["name"]


def test_every_ray_pod_has_the_same_image_and_settings(source: str) -> None:
    specs = [spec["containers"][0] for _, spec in pod_specs(rayservice(source))]
    assert len({container["image"] for container in specs}) == 1
    assert all(container["env"] == specs[0]["env"] for container in specs)


def test_the_user_is_the_images(source: str) -> None:
    user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.M)
    assert user
    for name, spec in pods(source):
        if "redis" not in name:
            context = spec["securityContext"]
            assert (context["runAsUser"], context["runAsGroup"]) == tuple(map(int, user.groups()))


def test_weights_are_where_the_image_and_the_settings_look() -> None:
    mounts = {mount["mountPath"] for c in containers("gpu") for mount in c["volumeMounts"]}
    assert re.search(r"WHISPER_MODEL_DIR=(\S+)", DOCKERFILE)[1] in mounts  # type: ignore[index]


def test_a_pod_is_ready_by_its_proxy_alone(source: str) -> None:
    """Not by WhisperASR: without it, the Service would have no pod left to say so."""
    for name, spec in pod_specs(rayservice(source)):
        if name != "head":
            probe = spec["containers"][0]["readinessProbe"]
            assert probe["httpGet"] == {"path": "/-/healthz", "port": "serve"}
            assert "exec" not in probe


def test_gpu_workers_ask_for_a_gpu_and_bear_its_nodes_taint() -> None:
    for source in ("file", *FACE_A_NETWORK):
        (spec,) = [spec for name, spec in pods(source) if name == "gpu"]
        assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec[
            "tolerations"
        ]


def test_a_laptop_needs_no_gpu_and_no_download() -> None:
    assert [name for name, _ in pods("cpu")] == ["head", "cpu"]
    assert "nvidia" not in str(render("cpu"))
    assert all(":latest" not in container["image"] for container in containers("cpu"))
    assert Path(ROOT / "whisper_service/assets/demo.pt").is_file()


def test_what_production_runs_has_a_fixed_tag() -> None:
    for source in FACE_A_NETWORK:
        assert all(not c["image"].endswith(":latest") for c in containers(source))


def test_every_role_that_is_selected_is_a_pods() -> None:
    for overlay in OVERLAYS:
        text = str(render(overlay))
        named = set(re.findall(rf"'{ROLE}': '(\w+)'", text))
        assert named <= _roles(overlay), overlay


def _roles(overlay: str) -> set[str]:
    found = set()
    for manifest in render(overlay):
        spec = manifest.get("spec", {})
        if manifest["kind"] == "RayService":
            cluster = spec["rayClusterConfig"]
            templates = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        else:
            templates = [spec] if "template" in spec else []
        for template in templates:
            labels = template["template"].get("metadata", {}).get("labels", {})
            found |= {labels[ROLE]} if ROLE in labels else set()
    return found
