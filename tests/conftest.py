"""What several folders of tests share, and the order in which they run."""

import pytest

from tests.end_to_end.service import running_service

__all__ = ["running_service"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last: playwright's event loop, once begun, lets no other begin."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
