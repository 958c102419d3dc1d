"""Which pages may open sockets."""

import pytest

from tests.api.handshakes import shake
from whisper_service.api.origin import is_same_host

FOREIGN = {"Origin": "https://evil.example"}


@pytest.mark.parametrize("path", ["/stream", "/v1/realtime", "/v1/listen"])
async def test_a_foreign_page_opens_no_socket(app, path):
    answer = await shake(app, path, FOREIGN)
    assert answer.status == 403
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({}, {}),  # no browser
        ({}, {"Origin": "null"}),  # a page from disk, by the default list
        ({}, {"Origin": "http://a.example:8000", "Host": "a.example:8000"}),
        ({"cors_origins": "https://evil.example"}, FOREIGN),
        ({"cors_origins": "*"}, FOREIGN),
    ],
)
async def test_programs_and_listed_pages_do(make_app, settings, headers):
    assert (await shake(make_app(**settings), "/stream", headers)).status == 101


async def test_a_page_from_disk_can_be_refused(make_app):
    app = make_app(cors_origins="https://mine.example")
    assert (await shake(app, "/stream", {"Origin": "null"})).status == 403


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://a.example:8000", "a.example:8000", True),
        ("https://a.example", "a.example", True),
        ("https://a.example", "a.example:443", True),  # TLS ends in front of us
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://A.example", "a.EXAMPLE", True),
        ("https://a.example", "a.example:8000", False),
        ("https://a.example.evil", "a.example", False),
        ("https://evil.example@a.example.evil", "evil.example", False),
        ("null", "a.example", False),
        ("null", "", False),
        ("", "", False),
        ("http://", "", False),
        ("http://a.example:99999999", "a.example", False),
        ("http://[", "a.example", False),
        ("file://", "", False),
    ],
)
def test_the_same_host_is_host_and_port(origin, host, same):
    assert is_same_host(origin, host) is same
