"""Fixtures that tests of several layers share."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def no_child_left() -> Iterator[None]:
    """Fails the test if it leaves a child process, zombies included."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("children are counted through /proc")
    before = children()
    yield
    assert children() <= before


def children() -> set[str]:
    tasks = Path("/proc/self/task").iterdir()
    return {pid for task in tasks for pid in (task / "children").read_text().split()}
