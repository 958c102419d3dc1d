"""What the settings leave open is filled in when the application is built."""

import os

import pytest
import ray

from tests.serving.conftest import Cluster
from whisper_service.serving.deployments import (
    SERVICE_CPUS,
    _asr_deployment,
    cluster_key,
    cpus_per_replica,
    gpus_there,
)
from whisper_service.settings import Settings


@pytest.mark.ray
def test_resume_tokens_outlive_the_build_that_signed_them(cluster: Cluster) -> None:
    assert cluster_key() == cluster_key() != ""


def test_without_a_gpu_the_replica_has_all_cores_but_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 9)
    assert cpus_per_replica(Settings(), n_gpus=0) == 8
    assert cpus_per_replica(Settings(), n_gpus=2) == 1
    assert cpus_per_replica(Settings(asr_num_cpus=3), n_gpus=2) == 3


@pytest.mark.parametrize(("n_gpus", "n_replicas"), [(0, 1), (1, 1), (4, 4)])
def test_each_gpu_has_a_replica(
    monkeypatch: pytest.MonkeyPatch, n_gpus: int, n_replicas: int
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8, "GPU": float(n_gpus)})
    asr = _asr_deployment(Settings(), gpus_there(Settings()))
    assert asr.ray_actor_options is not None
    assert asr.ray_actor_options["num_gpus"] == min(1, n_gpus)
    assert asr._deployment_config.autoscaling_config is not None
    assert asr._deployment_config.autoscaling_config.max_replicas == n_replicas
    assert gpus_there(Settings(device="cpu")) == 0


@pytest.mark.parametrize(("cores", "expected"), [(2, 1.5), (3, 2.5), (4, 3)])
def test_a_small_machine_s_last_core_is_shared_with_the_service(
    monkeypatch: pytest.MonkeyPatch, cores: int, expected: float
) -> None:
    """And what both ask for is there, also in a Ray cluster that counts this machine's cores."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert cpus_per_replica(Settings(), n_gpus=0) == expected
    assert expected + SERVICE_CPUS <= cores


def test_a_single_core_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert cpus_per_replica(Settings(), n_gpus=0) == 1
