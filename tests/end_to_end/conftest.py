import pytest

from tests.end_to_end.service import Service


@pytest.fixture(scope="session")
def service(running_service: Service) -> Service:
    return running_service
