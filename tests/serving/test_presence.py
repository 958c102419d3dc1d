"""Who comes when every model server is long gone is told, and nobody else."""

import asyncio
from collections.abc import Callable

import pytest

from whisper_service.errors import Unavailable
from whisper_service.serving import presence as module
from whisper_service.serving.presence import LOOK_EVERY, PATIENCE, Presence


class Cluster:
    """A clock, and how many replicas run at each time."""

    def __init__(self, n_running: Callable[[float], int]) -> None:
        self.now = 0.0
        self.n_running = n_running
        self.looks: list[float] = []

    async def count(self) -> int:
        self.looks.append(self.now)
        return self.n_running(self.now)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cluster], Presence]:
    def watched(cluster: Cluster) -> Presence:
        monkeypatch.setattr(module.asyncio, "sleep", cluster.sleep)
        return Presence(cluster.count, clock=lambda: cluster.now)

    return watched


async def test_a_file_is_sent_away_once_no_replica_has_run_for_long(
    watched: Callable[[Cluster], Presence],
) -> None:
    cluster = Cluster(lambda now: 0)
    with pytest.raises(Unavailable) as caught:
        await watched(cluster).wait()
    assert cluster.now == PATIENCE
    assert caught.value.retry_after


async def test_the_next_one_is_sent_away_at_once(watched: Callable[[Cluster], Presence]) -> None:
    cluster = Cluster(lambda now: 0)
    presence = watched(cluster)
    with pytest.raises(Unavailable):
        await presence.wait()
    began = cluster.now
    with pytest.raises(Unavailable):
        await presence.wait()
    assert cluster.now == began


@pytest.mark.parametrize("comes_after", [0.0, PATIENCE - LOOK_EVERY])
async def test_one_that_is_there_or_comes_soon_is_all_that_is_asked_for(
    watched: Callable[[Cluster], Presence], comes_after: float
) -> None:
    cluster = Cluster(lambda now: int(now >= comes_after))
    await watched(cluster).wait()
    assert cluster.now == comes_after


async def test_who_comes_at_the_same_time_shares_a_look(
    watched: Callable[[Cluster], Presence],
) -> None:
    cluster = Cluster(lambda now: 1)
    presence = watched(cluster)
    await asyncio.gather(*(presence.wait() for _ in range(10)))
    assert len(cluster.looks) == 1


async def test_a_controller_that_is_away_too_says_nothing(
    watched: Callable[[Cluster], Presence],
) -> None:
    def fail(now: float) -> int:
        raise RuntimeError("no controller")

    await watched(Cluster(fail)).wait()
