"""What is kept of jobs, and who gets to work on them."""

import io
import json
import os
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.clock import Clock
from whisper_service.errors import (
    InvalidParameter,
    NotFound,
    Overloaded,
    RateLimited,
    Unavailable,
    UndecodableAudio,
)
from whisper_service.jobs.job import NewJob
from whisper_service.jobs.store import LEASE, MAX_BREAKDOWNS, JobStore, StoreLimits
from whisper_service.types import DecodeOptions, FileOptions

DAY = 24 * 3600.0
LIMITS = StoreLimits(max_jobs=100, key_max_jobs=50, max_bytes=10**6, max_age=DAY)
OPTIONS = FileOptions(
    DecodeOptions(language="de", temperatures=(0.4,), timestamps="word"), audio_track=1
)
NEW = NewJob("web", "base", OPTIONS, "srt", "a.wav", n_bytes=5)


@pytest.fixture
def clock():
    return Clock(1_800_000_000.0)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "jobs"


@pytest.fixture
def store(folder, clock):
    return JobStore(folder, LIMITS, clock)


@pytest.fixture
def add(store):
    def add(data=b"audio", **fields):
        return store.add(replace(NEW, n_bytes=len(data), **fields), io.BytesIO(data))

    return add


def state_of(store, job):
    return store.find(job.owner, job.id)[0].state


def uploads(folder):
    return sorted(os.listdir(folder / "uploads"))


def test_a_job_is_kept_as_it_came(store, add, folder, clock):
    job = add(webhook_url="https://example.com/hook")
    again, result = JobStore(folder, LIMITS, clock).find("web", job.id)
    assert (again, result) == (job, None)
    assert (job.state, job.options, job.response_format) == ("queued", OPTIONS, "srt")
    assert (job.created_at, job.expires_at) == (clock.now, clock.now + DAY)
    with store.open_upload(job) as file:
        assert file.read() == b"audio"


def test_a_worker_takes_it_says_how_far_it_is_and_gives_the_text(store, add, folder):
    job = add()
    claimed = store.claim()
    assert (claimed.id, claimed.state) == (job.id, "running")
    assert store.renew(claimed, 2.5, 10.0)
    running = store.find("web", job.id)[0]
    assert (running.position, running.duration) == (2.5, 10.0)
    assert store.finish(claimed, "1\n00:00 text\n", 10.0)
    done, result = store.find("web", job.id)
    assert (done.state, done.position, result) == ("done", 10.0, "1\n00:00 text\n")
    assert uploads(folder) == []
    assert store.claim() is None


def test_a_failure_is_kept_in_the_shape_of_all_errors(store, add, folder):
    job = add()
    store.fail(store.claim(), UndecodableAudio("It is no audio.", param="file"))
    failed = store.find("web", job.id)[0]
    assert failed.state == "failed"
    assert failed.error == {
        "code": "undecodable_audio",
        "message": "It is no audio.",
        "param": "file",
    }
    assert uploads(folder) == []


def test_the_folder_is_nobody_elses_and_made_for_the_first_job(store, add, folder):
    assert store.claim() is None
    assert store.jobs_of("web", 10) == []
    store.sweep()
    assert not folder.exists()
    job = add()
    for path in (folder, folder / "uploads"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (folder / "jobs.sqlite3", folder / "uploads" / job.id):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_journal_is_one_that_network_volumes_can_have(add, folder):
    add()
    with sqlite3.connect(folder / "jobs.sqlite3") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    database.close()
    assert sorted(os.listdir(folder)) == ["jobs.sqlite3", "uploads"]


# --- leases


def test_a_job_whose_worker_died_is_taken_up_after_its_lease(store, add, clock):
    job = add()
    dead = store.claim()
    clock.now += LEASE - 1
    assert store.claim() is None
    clock.now += 1
    alive = store.claim()
    assert (alive.id, alive.position) == (job.id, 0.0)
    assert alive.lease != dead.lease


def test_a_lease_that_is_renewed_is_kept(store, add, clock):
    add()
    job = store.claim()
    for _ in range(5):
        clock.now += LEASE - 1
        assert store.renew(job, 1.0, None)
        assert store.claim() is None


def test_a_worker_that_was_given_up_changes_nothing(store, add, clock):
    job = add()
    late = store.claim()
    clock.now += LEASE
    now = store.claim()
    assert not store.renew(late, 9.0, 9.0)
    assert not store.finish(late, "late", 9.0)
    assert not store.fail(late, UndecodableAudio("late"))
    store.put_back(late)
    assert state_of(store, job) == "running"
    assert store.finish(now, "in time", 1.0)
    assert not store.finish(late, "late", 9.0)
    assert store.find("web", job.id)[1] == "in time"


def test_a_job_that_is_put_back_is_anothers(store, add):
    job = add()
    store.put_back(store.claim())
    assert state_of(store, job) == "queued"
    assert store.claim().id == job.id


def test_a_job_that_is_put_back_for_later_waits(store, add, clock):
    add()
    store.put_back(store.claim(), delay=5.0)
    assert store.claim() is None
    clock.now += 5.0
    assert store.claim().n_tries == 1


def test_a_job_that_workers_die_of_is_given_up(store, add, clock, folder):
    job = add()
    for _ in range(MAX_BREAKDOWNS):
        assert store.claim().id == job.id
        clock.now += LEASE
    assert store.claim() is None
    store.sweep()
    failed = store.find("web", job.id)[0]
    assert (failed.state, failed.error["code"]) == ("failed", "internal_error")
    assert uploads(folder) == []


def test_a_job_that_was_put_back_often_is_not(store, add):
    job = add()
    for _ in range(10):
        store.put_back(store.claim())
    assert store.claim().id == job.id


WORKER = """
import sys
from pathlib import Path
from whisper_service.jobs.store import JobStore, StoreLimits

store = JobStore(Path(sys.argv[1]), StoreLimits(100, 50, 10**6, 3600.0))
while (job := store.claim()) is not None:
    store.finish(job, job.id, 1.0)
    print(job.id)
"""


def test_processes_that_share_a_folder_do_no_job_twice(folder):
    store = JobStore(folder, LIMITS)
    added = [store.add(NEW, io.BytesIO(b"audio")).id for _ in range(30)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, folder],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(3)
    ]
    done = [line for worker in workers for line in worker.communicate(timeout=60)[0].split()]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert sorted(done) == sorted(added)
    assert store.counts()["done"] == 30


# --- owners


def test_a_job_is_its_owners(store, add):
    job = add()
    with pytest.raises(NotFound):
        store.find("other", job.id)
    with pytest.raises(NotFound):
        store.delete("other", job.id)
    assert store.jobs_of("other", 10) == []
    assert state_of(store, job) == "queued"


def test_jobs_are_listed_newest_first_and_page_by_page(store, add, clock):
    ids = []
    for _ in range(5):
        ids.append(add().id)
        clock.now += 1
    add(owner="other")
    first = [job.id for job in store.jobs_of("web", 2)]
    rest = [job.id for job in store.jobs_of("web", 10, before=first[-1])]
    assert first + rest == ids[::-1]


def test_many_jobs_of_one_owner_are_no_queue_for_another(store, add, clock):
    many = [add(owner="many").id for _ in range(3)]
    clock.now += 1
    few = add(owner="few").id
    assert store.claim().id in many
    assert store.claim().id == few


# --- the end


def test_a_job_that_is_cancelled_is_taken_from_its_worker(store, add, folder):
    job = add()
    worker = store.claim()
    store.delete("web", job.id)
    assert state_of(store, job) == "cancelled"
    assert uploads(folder) == []
    assert not store.renew(worker, 1.0, None)
    assert not store.finish(worker, "too late", 1.0)
    assert store.find("web", job.id)[1] is None


def test_a_job_that_has_ended_is_forgotten(store, add):
    job = add()
    store.finish(store.claim(), "text", 1.0)
    store.delete("web", job.id)
    with pytest.raises(NotFound):
        store.find("web", job.id)


def test_what_was_forgotten_is_not_on_the_disk(store, add, folder):
    job = add()
    store.finish(store.claim(), "a very private matter" * 1000, 1.0)
    store.delete("web", job.id)
    assert b"very private" not in (folder / "jobs.sqlite3").read_bytes()


def test_a_job_that_has_ended_expires(store, add, clock):
    job = add()
    clock.now += DAY - 10
    store.finish(store.claim(), "text", 1.0)
    clock.now += DAY - 1
    store.sweep()
    assert state_of(store, job) == "done"
    clock.now += 1
    store.sweep()
    with pytest.raises(NotFound):
        store.find("web", job.id)


def test_a_job_that_waits_for_too_long_fails(store, add, clock, folder):
    job = add()
    clock.now += DAY
    assert store.claim() is None
    store.sweep()
    failed = store.find("web", job.id)[0]
    assert (failed.state, failed.error["code"]) == ("failed", "timed_out")
    assert uploads(folder) == []


def test_files_of_no_job_are_swept_away(store, add, folder):
    job = add()
    (folder / "uploads" / "job_of_somebody_who_died").write_bytes(b"x")
    store.sweep()
    assert uploads(folder) == [job.id]


# --- limits


def test_one_key_may_have_so_many(folder, clock):
    store = JobStore(folder, replace(LIMITS, key_max_jobs=2), clock)
    for _ in range(2):
        store.add(NEW, io.BytesIO(b"audio"))
    with pytest.raises(RateLimited, match="2 jobs"):
        store.add(NEW, io.BytesIO(b"audio"))
    store.add(replace(NEW, owner="other"), io.BytesIO(b"audio"))
    store.finish(store.claim(), "text", 1.0)
    store.finish(store.claim(), "text", 1.0)
    store.add(NEW, io.BytesIO(b"audio"))


def test_all_together_may_have_so_many(folder, clock):
    store = JobStore(folder, replace(LIMITS, max_jobs=2), clock)
    for owner in ("", "web"):
        store.add(replace(NEW, owner=owner), io.BytesIO(b"audio"))
    with pytest.raises(Overloaded, match="the limit is 2"):
        store.add(replace(NEW, owner="other"), io.BytesIO(b"audio"))


def test_bytes_are_counted_of_files_and_of_texts(folder, clock):
    store = JobStore(folder, replace(LIMITS, max_bytes=20_000), clock)
    big = replace(NEW, n_bytes=15_000)
    store.add(big, io.BytesIO(b"x" * 15_000))
    with pytest.raises(Overloaded, match="20,000"):
        store.add(big, io.BytesIO(b"x" * 15_000))
    store.finish(store.claim(), "a" * 3_000, 1.0)
    store.add(replace(NEW, n_bytes=10_000), io.BytesIO(b"x" * 10_000))
    with pytest.raises(Overloaded):
        store.add(replace(NEW, n_bytes=4_000), io.BytesIO(b"x" * 4_000))
    assert len(uploads(folder)) == 1


# --- the same request twice


def test_the_same_request_twice_is_one_job(store, add):
    first = add(idempotency_key="one", fingerprint="f")
    assert add(idempotency_key="one", fingerprint="f") == first
    assert add(idempotency_key="two", fingerprint="f").id != first.id
    assert add(idempotency_key="one", fingerprint="f", owner="other").id != first.id
    assert add().id != add().id


def test_a_key_of_another_request_is_refused(add):
    add(idempotency_key="one", fingerprint="f")
    with pytest.raises(InvalidParameter) as refusal:
        add(idempotency_key="one", fingerprint="g")
    assert refusal.value.details["param"] == "Idempotency-Key"


# --- webhooks


def test_a_webhook_is_due_when_its_job_has_ended(store, add, clock):
    job = add(webhook_url="https://example.com")
    assert store.claim_delivery() is None
    store.finish(store.claim(), "text", 1.0)
    sent = store.claim_delivery()
    assert (sent.id, sent.delivery, sent.n_deliveries) == (job.id, "pending", 1)
    assert store.claim_delivery() is None
    store.delivered(sent)
    clock.now += 3600
    assert store.claim_delivery() is None
    assert store.find("web", job.id)[0].delivery == "delivered"


def test_a_webhook_that_was_not_taken_is_sent_again_until_it_is_given_up(store, add, clock):
    job = add(webhook_url="https://example.com")
    store.fail(store.claim(), UndecodableAudio("no"))
    store.not_delivered(store.claim_delivery(), "answered 500", 5.0)
    assert store.claim_delivery() is None
    clock.now += 5
    store.not_delivered(store.claim_delivery(), "answered 500", None)
    clock.now += 3600
    assert store.claim_delivery() is None
    kept = store.find("web", job.id)[0]
    assert (kept.delivery, kept.n_deliveries) == ("failed", 2)
    assert kept.delivery_error == "answered 500"


def test_a_webhook_whose_sender_died_is_sent_again(store, add, clock):
    add(webhook_url="https://example.com")
    store.finish(store.claim(), "text", 1.0)
    first = store.claim_delivery()
    clock.now += 60
    assert store.claim_delivery().id == first.id


def test_who_cancels_is_not_told(store, add):
    job = add(webhook_url="https://example.com")
    store.delete("web", job.id)
    assert store.claim_delivery() is None


# --- what can be wrong with a folder


def test_a_folder_that_cannot_be_made_is_an_error_in_words(tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    store = JobStore(tmp_path / "file" / "jobs", LIMITS)
    with pytest.raises(Unavailable) as failure:
        store.add(NEW, io.BytesIO(b"audio"))
    assert failure.value.retry_after
    assert str(tmp_path) not in json.dumps(failure.value.as_dict())
    assert str(tmp_path) in caplog.text


def test_a_file_that_is_no_database(store, folder):
    folder.mkdir()
    (folder / "jobs.sqlite3").write_bytes(b"something else entirely" * 100)
    with pytest.raises(Unavailable):
        store.claim()


def test_a_database_of_a_later_version_is_left_alone(store, add, folder):
    add()
    with sqlite3.connect(folder / "jobs.sqlite3") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(Unavailable):
        store.claim()


class Breaks(io.BytesIO):
    def read(self, size=-1):
        raise OSError(28, "No space left on device")


def test_a_disk_that_is_full_leaves_nothing_behind(store, folder):
    with pytest.raises(Unavailable):
        store.add(NEW, Breaks(b"audio"))
    assert uploads(folder) == []
    assert store.jobs_of("web", 10) == []
