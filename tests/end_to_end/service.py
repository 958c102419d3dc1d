"""The service as a user starts it, once for all tests that want it."""

from collections.abc import Iterator

import pytest

from benchmarks.local_service import ROOT, Service, local_service

__all__ = ["ROOT", "Service", "running_service"]


@pytest.fixture(scope="session")
def running_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service with the bundled model."""
    folder = tmp_path_factory.mktemp("service")
    settings = {"WHISPER_DEFAULT_MODEL": "demo", "WHISPER_MODEL_DIR": str(folder / "models")}
    with local_service(settings, folder / "log") as service:
        yield service
