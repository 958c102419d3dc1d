"""The manifest against the schemas that will judge it: KubeRay's, Ray Serve's and our settings."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import ServeDeploySchema

from whisper_service.settings import Settings

ROOT = Path(__file__).parents[2]
CRD = ROOT.parent / "shared" / "crd" / "ray.io_rayservices.yaml"
MANIFEST: dict[str, Any] = yaml.safe_load((ROOT / "whisper-rayservice.yaml").read_text())
SERVE: dict[str, Any] = yaml.safe_load(MANIFEST["spec"]["serveConfigV2"])
CLUSTER = MANIFEST["spec"]["rayClusterConfig"]
GROUPS = {group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]}
APPLICATION = SERVE["applications"][0]
DEPLOYMENTS = {deployment["name"]: deployment for deployment in APPLICATION["deployments"]}


def _forbid_unknown(schema: Any) -> Any:
    """Close every object of an OpenAPI schema, as the API server does when it prunes."""
    if isinstance(schema, list):
        return [_forbid_unknown(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _forbid_unknown(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        closed["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    if schema.get("x-kubernetes-int-or-string"):
        closed = {"type": ["integer", "string"]}
    return closed


def _unknown_keys(given: Any, known: Any, path: str = "") -> list[str]:
    """Keys of `given` that Serve's own dump of it lacks: Serve ignores what it does not know."""
    if isinstance(given, list):
        return [bad for a, b in zip(given, known, strict=True) for bad in _unknown_keys(a, b, path)]
    if not isinstance(given, dict) or path.endswith((".args", ".autoscaling_config")):
        return []
    missing = [f"{path}.{key}" for key in given if key not in known]
    return missing + [
        bad
        for key in given
        if key in known
        for bad in _unknown_keys(given[key], known[key], f"{path}.{key}")
    ]


def test_manifest_fits_the_operators_schema() -> None:
    if not CRD.exists():
        pytest.skip("KubeRay's custom resource definitions are not beside the checkout")
    crd = yaml.safe_load(CRD.read_text())
    version = next(v for v in crd["spec"]["versions"] if v["name"] == "v1")
    jsonschema.validate(MANIFEST, _forbid_unknown(version["schema"]["openAPIV3Schema"]))


def test_serve_config_has_no_key_that_serve_would_ignore() -> None:
    known = ServeDeploySchema.model_validate(SERVE).model_dump(warnings=False)
    assert _unknown_keys(SERVE, known) == []


def test_serve_args_are_settings() -> None:
    settings = Settings(**APPLICATION["args"])
    assert settings.default_model in settings.models_to_preload


@pytest.mark.parametrize("name", ["WhisperService", "WhisperASR"])
def test_both_deployments_autoscale(name: str) -> None:
    given = DEPLOYMENTS[name]["autoscaling_config"]
    config = AutoscalingConfig(**given)
    assert set(given) <= set(AutoscalingConfig.model_fields)
    assert config.min_replicas < config.max_replicas


def test_gpu_workers_can_hold_every_replica() -> None:
    per_worker = _gpus(GROUPS["gpu"]) / DEPLOYMENTS["WhisperASR"]["ray_actor_options"]["num_gpus"]
    most = DEPLOYMENTS["WhisperASR"]["autoscaling_config"]["max_replicas"]
    assert GROUPS["gpu"]["maxReplicas"] * per_worker >= most
    least = DEPLOYMENTS["WhisperASR"]["autoscaling_config"]["min_replicas"]
    assert GROUPS["gpu"]["minReplicas"] * per_worker >= least


def test_service_names_are_the_documented_ones() -> None:
    """KubeRay names the Services after the RayService: NAME-serve-svc and NAME-head-svc."""
    assert MANIFEST["metadata"]["name"] == "whisper-streaming"


def test_every_pod_runs_the_same_image_without_root() -> None:
    pods = [CLUSTER["headGroupSpec"], *GROUPS.values()]
    specs = [pod["template"]["spec"] for pod in pods]
    assert len({spec["containers"][0]["image"] for spec in specs}) == 1
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"]
        assert not spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"]


def test_head_takes_no_work() -> None:
    assert CLUSTER["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def _gpus(group: dict[str, Any]) -> int:
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    return int(limits["nvidia.com/gpu"])
