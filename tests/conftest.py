"""What several folders of tests share, and the order in which they run."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import real
from tests.end_to_end.service import running_service, surroundings
from whisper_service.models.folder import ASSETS_DIR

__all__ = ["running_service", "surroundings"]


# On a busy machine any example may take long, and that is no fault of the code.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


def pytest_configure() -> None:
    """No test works on jobs that somebody left in this machine's own folder."""
    folder = Path(tempfile.gettempdir()) / f"whisper-streaming-test-jobs-{os.getpid()}"
    os.environ.setdefault("WHISPER_JOBS_DIR", str(folder))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last: playwright's event loop, once begun, lets no other begin."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs real weights where they cannot be had, or fail where they have to be."""
    if item.get_closest_marker("real") is None or (why := real.why_missing()) is None:
        return
    if real.IS_REQUIRED:
        pytest.fail(f"real weights are required: {why}", pytrace=False)
    pytest.skip(why)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what was not tested."""
    skipped = terminalreporter.stats.get("skipped", [])
    n_skipped = sum("real" in getattr(report, "keywords", ()) for report in skipped)
    if n_skipped and (why := real.why_missing()):
        terminalreporter.write_line(
            f"NOT TESTED: OpenAI's weights on real speech ({n_skipped} tests): {why}", yellow=True
        )


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
