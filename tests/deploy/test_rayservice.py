"""Each RayService against what will judge it: KubeRay's schema, Ray Serve's, and our settings."""

import functools
import inspect
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
from ray.scripts.scripts import start
from ray.serve._private import constants
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import ServeDeploySchema

from tests.deploy.manifests import (
    FACE_A_NETWORK,
    OVERLAYS,
    ROOT,
    Manifest,
    environment,
    pod_specs,
    rayservice,
    serve_config,
)
from tests.deploy.schema import rayservice_schema
from whisper_service.keys.configured import check_access
from whisper_service.keys.file import KeysError
from whisper_service.serving import proxy
from whisper_service.serving.limiter import max_windows
from whisper_service.settings import Settings


@pytest.fixture(params=["file", *OVERLAYS])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def service(source: str) -> Manifest:
    return rayservice(source)


@pytest.fixture
def cluster(service: Manifest) -> Manifest:
    cluster: Manifest = service["spec"]["rayClusterConfig"]
    return cluster


@pytest.fixture
def serve(service: Manifest) -> Manifest:
    return serve_config(service)


@pytest.fixture
def settings(serve: Manifest) -> Settings:
    return Settings(**serve["applications"][0]["args"])


def deployments(serve: Manifest) -> dict[str, Manifest]:
    return {
        deployment["name"]: deployment for deployment in serve["applications"][0]["deployments"]
    }


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


@functools.cache
def _operators_schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(rayservice_schema())


def test_it_fits_the_operators_schema(service: Manifest) -> None:
    _operators_schema().validate(service)


def test_the_operators_schema_refuses_what_the_operator_does(service: Manifest) -> None:
    group = {**service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0], "gropName": "cpu"}
    for wrong in (
        {"rayClusterConfig": {"workerGroupSpecs": [group]}},
        {"upgradeStrategy": {"typ": "None"}},
        {"rayClusterDeletionDelaySeconds": -1},
    ):
        assert not _operators_schema().is_valid({**service, "spec": {**service["spec"], **wrong}})


def test_serve_config_has_no_key_that_serve_would_ignore(serve: Manifest) -> None:
    known = ServeDeploySchema.model_validate(serve).model_dump(warnings=False)
    assert _unknown_keys(serve, known) == []


def test_the_default_model_is_loaded_before_a_replica_is_ready(settings: Settings) -> None:
    assert settings.default_model in settings.models_to_preload


def test_deployments_and_settings_say_the_same(serve: Manifest, settings: Settings) -> None:
    """Where both can say it, Serve goes by the deployment, and our code by the setting."""
    asr = deployments(serve)["WhisperASR"]
    assert asr["max_ongoing_requests"] == max_windows(settings)
    assert asr["autoscaling_config"]["target_ongoing_requests"] == settings.max_batch_size


def test_the_service_knows_what_address_serve_binds(serve: Manifest, settings: Settings) -> None:
    """By it the service knows whether others can connect."""
    assert settings.host == serve["http_options"]["host"]


@pytest.mark.parametrize("secret", [{}, {"api-keys": "0123456789abcdef"}], ids=["none", "keys"])
def test_keys_are_asked_for_where_the_secret_holds_some_or_a_network_is_faced(
    source: str,
    service: Manifest,
    serve: Manifest,
    secret: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment(service, secret).items():
        monkeypatch.setenv(name, value)
    settings = Settings(**serve["applications"][0]["args"])
    if source in FACE_A_NETWORK and not secret:
        with pytest.raises(KeysError):
            check_access(settings)
    else:
        check_access(settings)
        assert settings.access == ("keys" if secret else "open")


@pytest.mark.parametrize("name", ["WhisperService", "WhisperASR"])
def test_both_deployments_autoscale(serve: Manifest, name: str) -> None:
    given = deployments(serve)[name]["autoscaling_config"]
    config = AutoscalingConfig(**given)
    assert set(given) <= set(AutoscalingConfig.model_fields)
    assert config.min_replicas <= config.max_replicas


def test_streams_are_refused_by_us_before_serve_lets_them_hang(
    serve: Manifest, settings: Settings
) -> None:
    deployment = deployments(serve)["WhisperService"]
    most = settings.max_streams + settings.max_uploads
    assert deployment["max_ongoing_requests"] > 2 * most
    assert deployment["autoscaling_config"]["target_ongoing_requests"] < settings.max_streams
    assert "request_timeout_s" not in serve["http_options"]


def test_workers_can_hold_every_replica(cluster: Manifest, serve: Manifest) -> None:
    """Cores and GPUs of all workers, at their fewest and most, against the replicas."""
    for bound in ("min", "max"):
        for resource, key in (("cpu", "num_cpus"), ("nvidia.com/gpu", "num_gpus")):
            there = sum(
                group[f"{bound}Replicas"] * float(_limits(group).get(resource, 0))
                for group in cluster["workerGroupSpecs"]
            )
            asked = sum(
                deployment["autoscaling_config"][f"{bound}_replicas"]
                * deployment["ray_actor_options"].get(key, 0)
                for deployment in deployments(serve).values()
            )
            assert there >= asked, (bound, resource)


def test_a_drain_ends_before_its_pod_is_killed(service: Manifest, settings: Settings) -> None:
    """Uploads, then the node, then the pod: each has to outlast the one before."""
    for name, spec in pod_specs(service):
        if name == "head":
            continue
        environment = {item["name"]: item.get("value") for item in spec["containers"][0]["env"]}
        node = float(environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert settings.drain_timeout < node < spec["terminationGracePeriodSeconds"]
        assert spec["terminationGracePeriodSeconds"] <= 120, "a spot node's notice"


def test_an_upgrade_waits_for_the_longest_upload(service: Manifest, settings: Settings) -> None:
    assert service["spec"]["rayClusterDeletionDelaySeconds"] >= settings.upload_timeout


def test_service_names_are_the_documented_ones(service: Manifest) -> None:
    """KubeRay names the Services after the RayService: NAME-serve-svc and NAME-head-svc."""
    assert service["metadata"]["name"] == "whisper-streaming"


def test_head_takes_no_work_and_no_traffic(service: Manifest, cluster: Manifest) -> None:
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert service["spec"]["excludeHeadPodFromServeSvc"]


def test_the_inside_asks_for_a_token(cluster: Manifest) -> None:
    assert cluster["authOptions"]["mode"] == "token"


def test_ray_understands_its_start_parameters(cluster: Manifest) -> None:
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        line = " ".join(f"--{key}={value}" for key, value in group["rayStartParams"].items())
        start.make_context("start", shlex.split(line))


def test_ray_is_the_one_that_is_installed(cluster: Manifest) -> None:
    assert f"ray[serve]=={cluster['rayVersion']}" in (ROOT / "requirements.txt").read_text()


def test_the_copy_kustomize_needs_is_the_file_at_the_top() -> None:
    top = (ROOT / "whisper-rayservice.yaml").read_text()
    assert (ROOT / "deploy/base/rayservice.yaml").read_text() == top, "run `make manifests`"


def test_no_gpu_node_is_kept_by_what_needs_none(service: Manifest, serve: Manifest) -> None:
    """A WhisperService there would take a WhisperASR's cores, and the node is never idle."""
    groups = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    if not any("nvidia.com/gpu" in _limits(group) for group in groups):
        pytest.skip("no worker has a GPU")
    wanted = deployments(serve)["WhisperService"]["ray_actor_options"]["label_selector"].items()
    can_take = [group for group in groups if wanted <= group.get("labels", {}).items()]
    assert can_take
    assert not any("nvidia.com/gpu" in _limits(group) for group in can_take)


def _limits(group: Manifest) -> Manifest:
    limits: Manifest = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    return limits


def test_a_dead_proxy_is_replaced_within_seconds(service: Manifest) -> None:
    """Serve's controller looks, wherever it runs; nobody reaches the service through that node."""
    name = "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S"
    assert f'"{name}"' in inspect.getsource(constants)
    for _, spec in pod_specs(service):
        environment = {item["name"]: item.get("value") for item in spec["containers"][0]["env"]}
        period = float(environment[name])
        assert period >= 1
        assert period * constants.PROXY_HEALTH_CHECK_UNHEALTHY_THRESHOLD <= 10


def test_a_lost_node_is_given_up_within_seconds(service: Manifest) -> None:
    """The head looks; streams give up after `RETRY_TIMEOUT` without an answer."""
    gcs_server = (Path(ray.__file__).parent / "core/src/ray/gcs/gcs_server").read_bytes()
    head = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    environment = {item["name"]: item.get("value") for item in head["env"]}
    for name in ("health_check_period_ms", "health_check_timeout_ms"):
        assert name.encode() in gcs_server
        assert 1000 <= int(environment[f"RAY_{name}"]) <= 3000


def test_every_proxy_answers_for_a_replica_that_died(service: Manifest) -> None:
    for _, spec in pod_specs(service):
        environment = {item["name"]: item.get("value") for item in spec["containers"][0]["env"]}
        assert environment[proxy.CALLBACK_VARIABLE] == proxy.CALLBACK
