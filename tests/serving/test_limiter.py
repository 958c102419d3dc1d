"""How many windows of files are out, by who answers."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.clock import Clock
from whisper_service.serving.limiter import LATELY, FileWindowLimiter


class Callers:
    """Windows that each want a permit, and hold it until they are told to go."""

    def __init__(self, limiter: FileWindowLimiter) -> None:
        self.limiter = limiter
        self.inside: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.gone: list[asyncio.Event] = []

    async def add(self, n: int) -> None:
        for number in range(len(self.tasks), len(self.tasks) + n):
            self.gone.append(asyncio.Event())
            self.tasks.append(asyncio.create_task(self._call(number)))
        await self.settle()

    async def leave(self, *numbers: int) -> None:
        for number in numbers:
            self.gone[number].set()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):  # turns of the loop: a grant wakes a task, which may grant another
            await asyncio.sleep(0)

    async def _call(self, number: int) -> None:
        async with self.limiter.permit():
            self.inside.append(number)
            await self.gone[number].wait()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> FileWindowLimiter:
    return FileWindowLimiter(per_replica=2, clock=clock)


@pytest.fixture
async def callers(limiter: FileWindowLimiter) -> AsyncIterator[Callers]:
    callers = Callers(limiter)
    yield callers
    for task in callers.tasks:
        task.cancel()
    await asyncio.gather(*callers.tasks, return_exceptions=True)


async def test_before_any_answer_there_is_room_for_one_replica(callers: Callers) -> None:
    await callers.add(5)
    assert callers.inside == [0, 1]


async def test_a_permit_that_is_released_goes_to_who_has_waited_longest(callers: Callers) -> None:
    await callers.add(4)
    await callers.leave(1)
    assert callers.inside == [0, 1, 2]


async def test_a_replica_that_answers_brings_its_permits(
    callers: Callers, limiter: FileWindowLimiter
) -> None:
    await callers.add(9)
    for replica in ("a", "a", "b"):
        limiter.answered(replica)
    await callers.settle()
    assert callers.inside == [0, 1, 2, 3]


async def test_replicas_that_replace_each_other_have_the_permits_of_one(
    limiter: FileWindowLimiter,
) -> None:
    for number in range(10):
        limiter.replica_lost()
        limiter.answered(f"replica {number}")
    assert limiter.limit == 2


async def test_a_replica_that_is_gone_takes_its_permits_along(
    callers: Callers, limiter: FileWindowLimiter, clock: Clock
) -> None:
    for replica in ("a", "b", "c"):
        limiter.answered(replica)
    await callers.add(6)
    assert len(callers.inside) == 6
    clock.now += LATELY + 1
    limiter.answered("a")
    await callers.add(1)
    await callers.leave(0, 1, 2, 3)
    assert len(callers.inside) == 6
    await callers.leave(4)
    assert len(callers.inside) == 7


async def test_who_gives_up_takes_no_permit_along(callers: Callers) -> None:
    await callers.add(5)
    callers.tasks[2].cancel()
    callers.tasks[0].cancel()
    await callers.settle()
    assert callers.inside == [0, 1, 3]


async def test_a_permit_given_in_the_moment_of_giving_up_is_not_lost(callers: Callers) -> None:
    await callers.add(3)
    callers.gone[0].set()
    await asyncio.sleep(0)  # the first leaves, and the third has been given its permit
    callers.tasks[2].cancel()
    await callers.settle()
    assert callers.inside == [0, 1]
    await callers.add(1)
    assert callers.inside == [0, 1, 3]
