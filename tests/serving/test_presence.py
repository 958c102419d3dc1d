"""Who waits for a model server that is gone is told, and who waits for a slow one is not."""

import asyncio
from collections.abc import Callable

import pytest

from whisper_service.errors import Unavailable
from whisper_service.serving import presence as module
from whisper_service.serving.presence import LOOK_EVERY, PATIENCE, Presence

MOST = 100
"""Looks after which a watch is taken to go on for ever."""


class Cluster:
    """A clock, and how many replicas run at each time."""

    def __init__(self, n_running: Callable[[float], int]) -> None:
        self.now = 0.0
        self.n_running = n_running
        self.looks: list[float] = []

    async def count(self) -> int:
        self.looks.append(self.now)
        if len(self.looks) > MOST:
            raise asyncio.CancelledError
        return self.n_running(self.now)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cluster], Presence]:
    def watched(cluster: Cluster) -> Presence:
        monkeypatch.setattr(module.asyncio, "sleep", cluster.sleep)
        return Presence(cluster.count, clock=lambda: cluster.now)

    return watched


async def test_nobody_is_asked_while_an_answer_may_be_on_its_way(
    watched: Callable[[Cluster], Presence],
) -> None:
    cluster = Cluster(lambda now: 0)
    with pytest.raises(Unavailable):
        await watched(cluster).watch()
    assert cluster.looks[0] == LOOK_EVERY


async def test_a_file_is_sent_away_once_no_replica_has_run_for_long(
    watched: Callable[[Cluster], Presence],
) -> None:
    cluster = Cluster(lambda now: 0)
    with pytest.raises(Unavailable) as caught:
        await watched(cluster).watch()
    assert cluster.now == LOOK_EVERY + PATIENCE
    assert caught.value.retry_after


async def test_the_next_one_is_sent_away_at_once(watched: Callable[[Cluster], Presence]) -> None:
    cluster = Cluster(lambda now: 0)
    presence = watched(cluster)
    with pytest.raises(Unavailable):
        await presence.watch()
    began = cluster.now
    with pytest.raises(Unavailable):
        await presence.watch()
    assert cluster.now == began


@pytest.mark.parametrize(
    "n_running", [lambda now: 1, lambda now: int(now % (PATIENCE + LOOK_EVERY) == 0)]
)
async def test_one_that_is_slow_or_comes_back_soon_is_waited_for(
    watched: Callable[[Cluster], Presence], n_running: Callable[[float], int]
) -> None:
    cluster = Cluster(n_running)
    with pytest.raises(asyncio.CancelledError):
        await watched(cluster).watch()
    assert len(cluster.looks) > MOST


async def test_a_controller_that_is_away_too_says_nothing(
    watched: Callable[[Cluster], Presence],
) -> None:
    def fail(now: float) -> int:
        raise RuntimeError("no controller")

    cluster = Cluster(fail)
    with pytest.raises(asyncio.CancelledError):
        await watched(cluster).watch()
