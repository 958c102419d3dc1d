"""The service as the Docker image starts it, once for all tests that want it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.local_service import ROOT, Service, free_port, local_service
from tests import real

__all__ = ["ROOT", "Service", "Surroundings", "running_service", "surroundings"]

HOSTS = dict(re.findall(r"(WHISPER_\w*HOST)=(\S+)", (ROOT / "Dockerfile").read_text()))
"""Bound to every address, with no key configured."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is beside the running service."""

    home: Path
    """Its user's folder. Ray keeps its token there."""
    dashboard_port: int

    @property
    def log(self) -> Path:
        """All that it wrote to its terminal."""
        return self.home / "log"


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    return Surroundings(tmp_path_factory.mktemp("service"), free_port())


@pytest.fixture(scope="session")
def running_service(surroundings: Surroundings) -> Iterator[Service]:
    """A running service with the bundled model, and `base` as the default where it is there."""
    settings = {
        **HOSTS,
        "HOME": str(surroundings.home),
        "WHISPER_DASHBOARD_PORT": str(surroundings.dashboard_port),
        "WHISPER_DEFAULT_MODEL": "demo",
        "WHISPER_MODEL_DIR": str(surroundings.home / "models"),
    }
    if real.why_missing() is None:
        settings |= {
            "WHISPER_DEFAULT_MODEL": "base",
            "WHISPER_PRELOAD_MODELS": "base,demo",
            "WHISPER_MODEL_DIR": str(real.real_weights("base").parent),
        }
    with local_service(settings, surroundings.log) as service:
        yield service
