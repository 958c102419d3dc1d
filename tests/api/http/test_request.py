"""The facts of a request or socket: one value, wherever the scope has been copied to."""

from math import inf

import pytest

from whisper_service.api.http.request import facts_of, route_path


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_there_is_one_for_each_scope(kind):
    scope, other = {"type": kind}, {"type": kind}
    facts_of(scope).request_id = "an id"
    assert facts_of({**scope}).request_id == "an id"  # as whoever changes the method does
    assert facts_of(other).request_id == ""


def test_what_nobody_wrote_limits_nothing():
    facts = facts_of({"type": "http"})
    facts.spend_bytes(2**40)
    assert (facts.grant, facts.front, facts.deadline) == (None, None, inf)


@pytest.mark.parametrize(
    ("path", "root", "route"),
    [("/a/b", "", "/a/b"), ("/x/a", "/x", "/a"), ("/xa", "/x", "/xa"), ("/x", "/x", "")],
)
def test_the_path_of_a_route_has_no_prefix(path, root, route):
    assert route_path({"path": path, "root_path": root}) == route
