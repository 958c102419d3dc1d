"""One real Ray on this machine for all tests marked `ray`: some ten seconds up, seven down."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.local_service import free_port
from tests.serving.collector import Collector, running_collector
from whisper_service.settings import Settings

APP, LATE_APP = f"words-{os.getpid()}", f"late-{os.getpid()}"
"""The application under test, and one whose model is not there when it starts. Named so that
their processes are not taken for those of another run on this machine."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the running service is."""

    url: str
    settings: Settings
    late_settings: Settings
    collector: Collector
    """Where the replicas of `APP` send their spans."""


@pytest.fixture(scope="session")
def model_dir(demo_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model under a second name."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(demo_path, folder / "second.pt")
    return folder


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


@pytest.fixture(scope="package")
def cluster(
    demo_path: Path,
    model_dir: Path,
    collector: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Replicas have the environment of the process that started Ray.
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
    os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "200"
    import ray
    from ray import serve

    import main

    small: dict[str, Any] = {
        "asr_num_cpus": 0.1,
        "device": "cpu",
        "download_models": False,
        "drain_timeout": 10,
        "decode_timeout": 100,
    }
    settings = Settings(
        **small,
        default_model="demo",
        model_dir=model_dir,
        max_loaded_models=1,
        tracing=True,
    )
    late_settings = Settings(
        **small, default_model="late", model_dir=tmp_path_factory.mktemp("late")
    )
    port = free_port()
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=150_000_000,
        log_to_driver=False,
    )
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run_many(
            [
                serve.RunTarget(main.app(late_settings), name=LATE_APP, route_prefix="/late"),
                serve.RunTarget(main.app(settings), name=APP, route_prefix="/"),
            ]
        )
        yield Cluster(f"http://127.0.0.1:{port}", settings, late_settings, collector)
    finally:
        serve.shutdown()
        ray.shutdown()
