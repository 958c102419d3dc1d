"""A driver over scripted plans: what it decodes, what it yields, what it gives up."""

import asyncio
from contextlib import aclosing
from types import SimpleNamespace

import pytest

from whisper_service.api.live.driver import StreamDriver
from whisper_service.errors import InvalidAudio
from whisper_service.settings import Settings


class Plan:
    """Gives one job after the other, and is done once it was stopped and has none left."""

    backlog = 0.0

    def __init__(self, *jobs: str) -> None:
        self.jobs = list(jobs)
        self.in_flight: str | None = None
        self.is_stopped = False
        self.is_superseded = False

    @property
    def is_done(self) -> bool:
        return self.is_stopped and not self.jobs and self.in_flight is None

    def next_job(self) -> str | None:
        if self.in_flight is None and self.jobs:
            self.in_flight = self.jobs.pop(0)
            return self.in_flight
        return None

    def abandon(self, job: str) -> None:
        self.in_flight, self.is_superseded = None, False

    def finalize(self) -> None:
        """Make the job in flight one that nobody wants any more."""
        self.is_superseded = self.in_flight is not None


class Pipeline:
    """A plan whose events are its hypotheses."""

    config = SimpleNamespace(model_size="base")

    def __init__(self, *jobs: str) -> None:
        self.plan = Plan(*jobs)
        self.events: list[str] = []

    def stop(self) -> None:
        self.plan.is_stopped = True

    def receive_hypothesis(self, job: str, hypothesis: str) -> None:
        self.plan.in_flight = None
        self.events.append(hypothesis)

    def take_events(self, now: float) -> list[str]:
        events, self.events = self.events, []
        return events


class Decoder:
    """Answers a job with itself, but "bad" with an error, and "never" not at all."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.n_cancelled = 0

    async def decode(self, model_size: str, job: str) -> str:
        self.asked.append(job)
        try:
            await (asyncio.Event().wait() if job == "never" else asyncio.sleep(0))
        except asyncio.CancelledError:
            self.n_cancelled += 1
            raise
        if job == "bad":
            raise InvalidAudio("bad")
        return job


@pytest.fixture
def decoder():
    return Decoder()


async def collect(driver) -> list[str]:
    """All events to the end."""
    async with asyncio.timeout(10), aclosing(driver.events()) as steps:
        return [event async for _, events in steps for event in events]


async def test_turns_are_decoded_one_after_the_other(decoder):
    first, second = Pipeline("one", "two"), Pipeline("three")
    driver = StreamDriver(decoder, Settings(), first)
    first.plan.received = 1.0
    driver.next_turn(lambda begin: second)
    driver.stop()
    assert await collect(driver) == ["one", "two", "three"]
    assert driver.first is second


async def test_it_can_go_on_without_what_failed(decoder):
    first, second = Pipeline("one", "bad"), Pipeline("two")
    driver = StreamDriver(decoder, Settings(), first)
    first.plan.received = 1.0
    driver.next_turn(lambda begin: second)
    driver.stop()
    with pytest.raises(InvalidAudio):
        await collect(driver)
    driver.drop_first()
    assert await collect(driver) == ["two"]


async def test_who_stops_asking_for_events_gives_up_the_decode(decoder):
    driver = StreamDriver(decoder, Settings(), Pipeline("never"))
    async with aclosing(driver.events()) as steps:
        await anext(steps)
        await asyncio.sleep(0)
    assert (decoder.asked, decoder.n_cancelled) == (["never"], 1)


@pytest.mark.parametrize(
    ("n_turns", "asked"), [(1, []), (4, ["never"])], ids=["before it begins", "after"]
)
async def test_a_superseded_decode_makes_room_for_the_next(decoder, n_turns, asked):
    driver = StreamDriver(decoder, Settings(), Pipeline("never", "final"))
    asking = asyncio.create_task(collect(driver))
    for _ in range(n_turns):
        await asyncio.sleep(0)
    assert driver.first.plan.in_flight == "never"
    assert decoder.asked == asked
    driver.finalize()
    driver.stop()
    assert await asking == ["final"]
