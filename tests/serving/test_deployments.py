"""What the settings leave open is filled in when the application is built."""

import os

import pytest

from tests.serving.conftest import Cluster
from whisper_service.serving.deployments import cluster_key, cpus_per_replica
from whisper_service.settings import Settings


@pytest.mark.ray
def test_resume_tokens_outlive_the_build_that_signed_them(cluster: Cluster) -> None:
    assert cluster_key() == cluster_key() != ""


def test_without_a_gpu_the_replicas_share_all_cores_but_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 9)
    assert cpus_per_replica(Settings(asr_max_replicas=2), num_gpus=0) == 4
    assert cpus_per_replica(Settings(), num_gpus=1) == 1


@pytest.mark.parametrize(
    ("cores", "n_replicas", "expected"), [(2, 1, 1.5), (3, 1, 2.5), (2, 2, 0.75), (4, 1, 3)]
)
def test_a_small_machine_s_last_core_is_shared_with_the_service(
    monkeypatch: pytest.MonkeyPatch, cores: int, n_replicas: int, expected: float
) -> None:
    """And what both ask for is there, also in a Ray cluster that counts this machine's cores."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    settings = Settings(asr_max_replicas=n_replicas)
    assert cpus_per_replica(settings, num_gpus=0) == expected
    assert n_replicas * expected + settings.service_num_cpus <= cores


def test_a_single_core_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert cpus_per_replica(Settings(), num_gpus=0) == 1
