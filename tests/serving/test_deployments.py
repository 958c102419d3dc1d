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


def test_a_single_core_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert cpus_per_replica(Settings(), num_gpus=0) == 1
