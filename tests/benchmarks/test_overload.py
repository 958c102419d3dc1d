"""What the overload benchmark makes of its replies."""

from benchmarks.overload import Reply, summarise


def test_replies_are_sorted_into_admitted_refused_and_others() -> None:
    at_capacity = [Reply(200, 1.0, "yes")] * 10
    replies = [
        *[Reply(200, 2.0, "yes")] * 3,
        Reply(200, 2.0, "no"),
        *[Reply(503, 0.01, has_retry_after=True)] * 5,
        Reply(503, 0.01),
        Reply(500, 0.01),
        Reply(0, 0.5),
    ]
    found = summarise(at_capacity, 5.0, replies, 5.0, "yes")
    assert (found.capacity, found.p95_at_capacity, found.p95_admitted) == (2.0, 1.0, 2.0)
    assert (found.n_admitted, found.n_refused, found.n_wrong) == (4, 5, 1)
    assert found.others == {"503": 1, "500": 1, "0": 1}
