"""Which pages may open sockets."""

import pytest
from starlette.testclient import TestClient

from tests.api.fakes import connect
from tests.api.handshakes import shake
from whisper_service.api.access.origin import is_same_host

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


PAGE = "https://a.example:8443"
HOST_OF_UPSTREAM = "127.0.0.1:8000"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "a.example:8443"},
        {"Host": HOST_OF_UPSTREAM, "X-Forwarded-Host": "a.example:8443"},
        {"Host": HOST_OF_UPSTREAM, "X-Forwarded-Host": "a.example:8443, inner.example"},
        {"Host": HOST_OF_UPSTREAM, "X-Forwarded-Host": "a.example", "X-Forwarded-Port": "8443"},
        {"Host": "a.example", "X-Forwarded-Port": "8443"},
        {"Host": HOST_OF_UPSTREAM, "Forwarded": 'for=1.2.3.4;Host="a.example:8443";proto=https'},
    ],
)
async def test_behind_a_proxy_the_host_is_what_the_page_called(app, headers):
    assert (await shake(app, "/stream", {"Origin": PAGE, **headers})).status == 101
    assert (await shake(app, "/stream", {**FOREIGN, **headers})).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": HOST_OF_UPSTREAM},
        {"Host": "a.example"},
        {"Host": HOST_OF_UPSTREAM, "X-Forwarded-Host": "", "Forwarded": "for=a.example:8443"},
        {"Host": HOST_OF_UPSTREAM, "X-Forwarded-Host": "b.example, a.example:8443"},
        {"Host": HOST_OF_UPSTREAM, "X-Forwarded-Host": "a.example", "X-Forwarded-Port": "x"},
    ],
)
async def test_a_proxy_that_keeps_the_host_to_itself_is_told_as_the_reason(app, headers):
    error = (await shake(app, "/stream", {"Origin": PAGE, **headers})).error
    assert (error["code"], error["param"], error["got"]) == ("forbidden", "origin", PAGE)
    assert f"'{headers['Host']}'" in error["message"]
    assert "proxy_set_header Host $http_host" in error["message"]


def test_a_page_can_ask_why_its_socket_was_denied(make_client):
    client, headers = make_client(max_streams=1), {"host": "a.example:8443"}
    answer = client.get("/stream", params={"origin": FOREIGN["Origin"]}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (403, "origin")
    answer = client.get("/stream", params={"origin": PAGE}, headers=headers)
    assert answer.status_code == 426


async def test_a_page_can_ask_whether_there_was_room(make_app):
    app = make_app(max_streams=1)
    async with connect(app, {}):
        answer = TestClient(app).get("/stream")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"]


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
