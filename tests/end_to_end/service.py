"""The service as a user starts it, once for all tests that want it."""

from collections.abc import Iterator

import pytest

from benchmarks.local_service import ROOT, Service, local_service
from tests import real

__all__ = ["ROOT", "Service", "running_service"]


@pytest.fixture(scope="session")
def running_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service with the bundled model, and `base` as the default where it is there."""
    folder = tmp_path_factory.mktemp("service")
    settings = {"WHISPER_DEFAULT_MODEL": "demo", "WHISPER_MODEL_DIR": str(folder / "models")}
    if real.why_missing() is None:
        settings = {
            "WHISPER_DEFAULT_MODEL": "base",
            "WHISPER_PRELOAD_MODELS": "base,demo",
            "WHISPER_MODEL_DIR": str(real.real_weights("base").parent),
        }
    with local_service(settings, folder / "log") as service:
        yield service
