"""What several folders of tests share, and the order in which they run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.service import running_service
from whisper_service.models.folder import ASSETS_DIR

__all__ = ["running_service"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last: playwright's event loop, once begun, lets no other begin."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.fixture(scope="session")
def demo_path() -> Path:
    """The bundled model's file."""
    path = ASSETS_DIR / "demo.pt"
    if not path.is_file():
        pytest.skip(f"the bundled model is not at {path}")
    return path


@pytest.fixture
def no_child_left() -> Iterator[None]:
    """Fails the test if it leaves a child process, zombies included."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("children are counted through /proc")
    before = children()
    yield
    assert children() <= before


def children() -> set[str]:
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found |= set((task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            pass
    return found
