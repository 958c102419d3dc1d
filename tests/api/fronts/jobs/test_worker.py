"""Who works on jobs, when, and what happens to them when he stops."""

import asyncio
import io
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.api.fakes import PATIENCE, FakeDecoder, level, wav
from tests.api.fronts.jobs.conftest import FILE, Replica, client_of
from whisper_service.api.app import create_app
from whisper_service.api.files import admission
from whisper_service.api.fronts.jobs import worker
from whisper_service.errors import ModelUnavailable, Overloaded
from whisper_service.jobs import store
from whisper_service.settings import Settings


async def test_a_service_that_ends_in_the_middle_leaves_its_job_to_the_next(serve, decoder):
    decoder.gate.clear()
    async with serve() as replica:
        job_id = await replica.added()
        await decoder.begun.acquire()
    assert decoder.n_cancelled == 1
    decoder.gate.set()
    async with serve() as replica:
        job = await replica.until(job_id, "done")
    assert job["result"]["text"] == "level 7"


async def test_a_file_that_opens_after_the_service_has_ended_is_closed(serve, monkeypatch):
    loop, opening, closed = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    may_open, open_upload = threading.Event(), store.JobStore.open_upload
    opened = []  # kept, so that no garbage collector closes it

    class Opened(io.FileIO):
        def close(self):
            super().close()
            closed.set()

    def slowly(self, job):
        loop.call_soon_threadsafe(opening.set)
        assert may_open.wait(PATIENCE)
        with open_upload(self, job) as file:
            opened.append(Opened(os.dup(file.fileno())))
        return opened[-1]

    monkeypatch.setattr(store.JobStore, "open_upload", slowly)
    async with serve() as replica:
        await replica.added()
        await opening.wait()
    may_open.set()
    async with asyncio.timeout(PATIENCE):
        await closed.wait()


async def test_a_process_that_is_killed_in_the_middle_leaves_its_job_to_the_next(
    serve, make_app, tmp_path
):
    idle = make_app()  # takes jobs; its background does not run
    async with client_of(idle) as client:
        job_id = (await client.post("/jobs", files={"file": FILE})).json()["id"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.api.fronts.jobs.crash", str(tmp_path / "jobs")),
        cwd=Path(__file__).parents[4],
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        assert await process.stdout.readline() == b"begun\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    async with serve() as replica:
        assert (await replica.get(job_id))["state"] == "running"  # nobody knows better yet
        assert (await replica.until(job_id, "done"))["result"]["text"] == "level 7"


async def test_replicas_that_share_a_folder_share_the_work_and_do_none_twice(tmp_path):
    decoders = [FakeDecoder(), FakeDecoder()]
    apps = [create_app(Settings(jobs_dir=tmp_path / "jobs"), decoder) for decoder in decoders]
    async with (
        apps[0].router.lifespan_context(apps[0]),
        apps[1].router.lifespan_context(apps[1]),
        client_of(apps[0]) as first,
        client_of(apps[1]) as second,
    ):
        one, two = Replica(first), Replica(second)
        numbers = range(10, 22)
        ids = [await one.added(("a.wav", wav(level(number)))) for number in numbers]
        jobs = [await two.until(job_id, "done") for job_id in ids]
    assert [job["result"]["text"] for job in jobs] == [f"level {number}" for number in numbers]
    assert sum(len(decoder.jobs) for decoder in decoders) == len(numbers)


async def test_no_more_run_at_once_than_are_asked_for(serve, decoder):
    decoder.gate.clear()
    async with serve(max_running_jobs=2) as replica:
        ids = [await replica.added() for _ in range(4)]
        for job_id in ids[:2]:
            await replica.until(job_id, "running")
        assert [(await replica.get(job_id))["state"] for job_id in ids[2:]] == ["queued"] * 2
        decoder.gate.set()
        for job_id in ids:
            await replica.until(job_id, "done")
    assert decoder.n_most == 2


async def test_a_running_job_has_a_place_of_an_upload_and_a_waiting_one_has_not(serve, decoder):
    decoder.gate.clear()
    async with serve(max_uploads=1) as replica:
        first = await replica.added()
        await decoder.begun.acquire()
        refused = await replica.client.post("/transcribe", files={"file": FILE})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        decoder.gate.set()
        await replica.until(first, "done")
        assert (await replica.client.post("/transcribe", files={"file": FILE})).status_code == 200


async def test_a_job_waits_behind_uploads_and_is_taken_all_the_same(serve, decoder, monkeypatch):
    """Where another upload would be refused, a job is taken, and begun once they are done."""
    monkeypatch.setattr(admission, "_MIN_ANSWERS", 2)
    async with serve(max_batch_size=4, upload_admission_wait=1e-9) as replica:

        async def upload():
            return await replica.client.post("/transcribe", files={"file": FILE})

        for _ in range(2):
            assert (await upload()).status_code == 200
        decoder.gate.clear()
        uploads = [asyncio.create_task(upload()) for _ in range(5)]
        for _ in range(7):
            await decoder.begun.acquire()
        assert (await upload()).status_code == 503
        job_id = await replica.added()
        n_decodes = len(decoder.jobs)
        for _ in range(5):
            await asyncio.sleep(0.02)  # some rounds, in which it is not begun
        assert (await replica.get(job_id))["state"] == "queued"
        assert len(decoder.jobs) == n_decodes
        decoder.gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*uploads)] == [200] * 5
        await replica.until(job_id, "done")


async def test_a_replica_that_goes_away_begins_nothing_more(make_app):
    app = make_app(draining=lambda: True)
    async with app.router.lifespan_context(app), client_of(app) as client:
        replica = Replica(client)
        job_id = await replica.added()
        for _ in range(5):
            await asyncio.sleep(0.02)
        assert (await replica.get(job_id))["state"] == "queued"


async def test_a_decoder_that_is_away_delays_a_job_and_does_not_fail_it(
    replica, decoder, monkeypatch
):
    monkeypatch.setattr(worker, "FIRST_DELAY", 0.01)
    decoder.failures = [Overloaded("Full."), Overloaded("Full.")]
    job = await replica.until(await replica.added(), "done")
    assert (job["result"]["text"], len(decoder.jobs)) == ("level 7", 3)


async def test_weights_that_are_gone_fail_a_job(replica, decoder):
    decoder.failures = [ModelUnavailable("No weights.", model="base")]
    job = await replica.until(await replica.added(), "failed")
    assert (job["error"]["code"], job["error"]["model"]) == ("model_unavailable", "base")


async def test_a_job_may_take_longer_than_an_upload_but_not_for_ever(serve, decoder, monkeypatch):
    monkeypatch.setattr(worker, "SWEEP", 0.02)
    ahead, now = 0.0, time.time
    monkeypatch.setattr(store.JobStore.__init__, "__defaults__", (lambda: now() + ahead,))
    decoder.gate.clear()
    async with serve(upload_timeout=60, job_max_age=3600) as replica:
        job_id = await replica.added()
        await decoder.begun.acquire()
        ahead = 3599.0 - store.LEASE
        await replica.once(job_id, lambda job: job["state"] == "running")
        ahead = 3601.0
        job = await replica.until(job_id, "failed")
    assert job["error"]["code"] == "timed_out"
    assert decoder.n_cancelled


async def test_jobs_expire(serve, monkeypatch):
    monkeypatch.setattr(worker, "SWEEP", 0.02)
    async with serve(job_max_age=0.5) as replica:
        job_id = await replica.added()
        async with asyncio.timeout(PATIENCE):
            while True:
                if (await replica.client.get(f"/jobs/{job_id}")).status_code == 404:
                    break
                await asyncio.sleep(0.02)


async def test_a_bug_in_the_background_does_not_end_it(replica, monkeypatch, caplog):
    claim, bugs = store.JobStore.claim, [RuntimeError("a bug")]

    def breaks_once(self):
        if bugs:
            raise bugs.pop()
        return claim(self)

    monkeypatch.setattr(store.JobStore, "claim", breaks_once)
    await replica.until(await replica.added(), "done")
    assert "a bug" in caplog.text


@pytest.mark.parametrize("name", ["whisper_running_jobs", "whisper_ended_jobs"])
async def test_operators_see_jobs(tmp_path, name):
    kept = []

    class Kept:
        def record(self, measure, value, **labels):
            if measure.name == name:
                kept.append((value, labels))

    app = create_app(Settings(jobs_dir=tmp_path), FakeDecoder(), metrics=Kept())
    async with app.router.lifespan_context(app), client_of(app) as client:
        replica = Replica(client)
        await replica.until(await replica.added(), "done")
    expected = {"whisper_running_jobs": [1, 0], "whisper_ended_jobs": [1]}[name]
    assert [value for value, _ in kept] == expected
