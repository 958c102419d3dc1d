import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.api.fakes import PATIENCE, level, wav
from whisper_service.api.fronts.jobs import rounds, worker

FILE = ("a.wav", wav(level(7)))


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Nobody waits two seconds for the next look."""
    monkeypatch.setattr(rounds, "PERIOD", 0.02)
    monkeypatch.setattr(worker, "RENEW", 0.02)


def client_of(app) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


class Replica:
    """A client of one application, in the test's own event loop."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def add(self, file=FILE, headers=None, **fields) -> httpx.Response:
        return await self.client.post("/jobs", files={"file": file}, data=fields, headers=headers)

    async def added(self, file=FILE, **fields) -> str:
        """The id of a new job."""
        response = await self.add(file, **fields)
        assert response.status_code == 202, response.text
        return response.json()["id"]

    async def get(self, job_id: str, headers=None) -> dict:
        response = await self.client.get(f"/jobs/{job_id}", headers=headers)
        assert response.status_code == 200, response.text
        return response.json()

    async def until(self, job_id: str, *states: str, headers=None) -> dict:
        """The job, once it is in one of the states."""
        return await self.once(job_id, lambda job: job["state"] in states, headers)

    async def once(self, job_id: str, condition, headers=None) -> dict:
        """The job, once it is as wanted: asked for again and again, as clients do."""
        async with asyncio.timeout(PATIENCE):
            while True:
                if condition(job := await self.get(job_id, headers)):
                    return job
                await asyncio.sleep(0.01)


@pytest.fixture
def serve(make_app):
    """Runs an application, its work in the background too, until the block is left."""

    @asynccontextmanager
    async def serve(**settings):
        app = make_app(**settings)
        async with app.router.lifespan_context(app), client_of(app) as client:
            yield Replica(client)

    return serve


@pytest.fixture
async def replica(serve):
    async with serve() as replica:
        yield replica
