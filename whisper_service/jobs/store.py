"""The jobs that wait, run and have ended, for all replicas that share a folder.

Who works on a job has a lease on it and renews that; one that runs out, because its process or node
is gone, lets another take the job up. Whatever a worker changes, it changes under its lease, so one
that comes back after it was given up changes nothing. Leases are compared by the wall clock: nodes
whose clocks differ by more than half of one would do each other's work again.

Everything here blocks, for milliseconds, or for as long as an upload takes to copy.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import TypeAdapter

from whisper_service.errors import (
    InternalError,
    InvalidParameter,
    NotFound,
    Overloaded,
    RateLimited,
    ServiceError,
    TimedOut,
)
from whisper_service.jobs.database import Database
from whisper_service.jobs.job import STATES, Delivery, Job, NewJob, State
from whisper_service.jobs.uploads import Uploads
from whisper_service.types import FileOptions

LEASE = 30.0
"""Seconds. For as long a job is left alone whose worker has died."""
MAX_BREAKDOWNS = 3
"""Leases of one job that may run out: what killed three workers would kill the next."""
_ARRIVAL = 3600.0
"""Seconds an upload may take to be copied; after that, the request it came with has died."""
_DELIVERY = 60.0
"""Seconds until a webhook is sent again whose sender has died: more than one try may take."""
ROW_BYTES = 1024
"""What a row counts for beside its upload or text, so that many small ones are bounded, too."""
_RETRY_AFTER = 30.0

_OPTIONS = TypeAdapter(FileOptions)
_COLUMNS = (
    "id, owner, state, model, options, response_format, file_name, created_at, started_at,"
    " finished_at, expires_at, position, duration, error, webhook_url, delivery, n_deliveries,"
    " delivery_error, lease, n_tries"
)
_UNFINISHED = "state IN ('arriving', 'queued', 'running')"
_IS_FREE = (
    "((state = 'queued' AND due_at <= :now) OR (state = 'running' AND leased_until <= :now))"
    " AND expires_at > :now"
)
_IS_DUE = "delivery = 'pending' AND delivery_due_at <= :now"


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """How much is kept, and for how long."""

    max_jobs: int
    """That have not ended."""
    key_max_jobs: int
    max_bytes: int
    max_age: float


class JobStore:
    """`folder` need not exist: it is made for the first job.

    Every method raises `Unavailable` where the folder or its database cannot be used.
    """

    def __init__(
        self, folder: Path, limits: StoreLimits, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = Database(folder / "jobs.sqlite3")
        self._uploads = Uploads(folder / "uploads")
        self._limits = limits
        self._clock = clock

    # --- for callers

    def add(self, new: NewJob, upload: BinaryIO) -> Job:
        """Keep a job and its file. Once this returns, both survive whatever happens to the process.

        With an idempotency key that is known, nothing is added, and the job of then comes back.
        Raises `RateLimited`, `Overloaded`, or `InvalidParameter` for another request's key.
        """
        with self._database.writing() as database:
            if (known := _known(database, new)) is not None:
                return known
            self._check_room(database, new)
            job_id = self._insert(database, new)  # takes its room before it is written
        try:
            with self._database.told():
                self._uploads.write(job_id, upload)
        except BaseException:
            with self._database.writing() as database:
                database.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            self._remove_upload(job_id)
            raise
        with self._database.writing() as database:
            database.execute(
                "UPDATE jobs SET state = 'queued', leased_until = NULL"
                " WHERE id = ? AND state = 'arriving'",  # else it was cancelled meanwhile
                (job_id,),
            )
            job = _job(database, job_id)
        if job.state == "cancelled":
            self._remove_upload(job_id)
        return job

    def find(self, owner: str, job_id: str) -> tuple[Job, str | None]:
        """A job of this owner's, and its text if it is done; raises `NotFound`."""
        if self._database.exists:
            with self._database.reading() as database:
                query = f"SELECT {_COLUMNS}, result FROM jobs WHERE id = ? AND owner = ?"
                row = database.execute(query, (job_id, owner)).fetchone()
            if row is not None:
                return _from_row(row), row["result"]
        raise NotFound("There is no such job: it has expired, was deleted, or is another key's.")

    def jobs_of(self, owner: str, n_most: int, before: str | None = None) -> list[Job]:
        """The jobs of one owner, newest first; those older than `before`, where that is given."""
        if not self._database.exists:
            return []
        with self._database.reading() as database:
            query = (
                f"SELECT {_COLUMNS} FROM jobs WHERE owner = :owner"
                " AND (:before IS NULL OR (created_at, id) <"
                " (SELECT created_at, id FROM jobs WHERE id = :before AND owner = :owner))"
                " ORDER BY created_at DESC, id DESC LIMIT :n"
            )
            values = {"owner": owner, "before": before, "n": n_most}
            return [_from_row(row) for row in database.execute(query, values)]

    def delete(self, owner: str, job_id: str) -> None:
        """Cancel a job that has not ended, which its worker learns when it renews its lease; forget
        one that has. File and text are gone either way. Raises `NotFound`."""
        self.find(owner, job_id)
        with self._database.writing() as database:
            if self._end(database, job_id, "cancelled") is None:
                database.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
        self._remove_upload(job_id)

    # --- for workers

    def claim(self) -> Job | None:
        """The next job, with a lease on it; None if there is none.

        First those of the owner who has the fewest in work, so that a thousand of one are no queue
        for another; of one owner, the oldest.
        """
        now = self._clock()
        if not self._has(_IS_FREE, now):
            return None
        with self._database.writing() as database:
            self._give_up(database, now)
            query = (
                f"SELECT id FROM jobs AS free WHERE {_IS_FREE} ORDER BY (SELECT count(*) FROM jobs"
                " WHERE owner = free.owner AND state = 'running' AND leased_until > :now),"
                " created_at, id LIMIT 1"
            )
            row = database.execute(query, {"now": now}).fetchone()
            if row is None:
                return None
            database.execute(
                "UPDATE jobs SET n_breakdowns = n_breakdowns + (state = 'running'),"
                " state = 'running', lease = ?, leased_until = ?, position = 0,"
                " started_at = coalesce(started_at, ?) WHERE id = ?",
                (secrets.token_hex(8), now + LEASE, now, row["id"]),
            )
            return _job(database, row["id"])

    def open_upload(self, job: Job) -> BinaryIO:
        """The file as it came."""
        with self._database.told():
            return self._uploads.open(job.id)

    def renew(self, job: Job, position: float, duration: float | None) -> bool:
        """Keep the lease, and say how far the job is; False if the lease is gone: the job was
        cancelled, is out of time, or is another worker's."""
        now = self._clock()
        with self._database.writing() as database:
            changed = database.execute(
                "UPDATE jobs SET leased_until = ?, position = ?, duration = ?"
                " WHERE id = ? AND lease = ? AND expires_at > ?",
                (now + LEASE, position, duration, job.id, job.lease, now),
            )
            return changed.rowcount == 1

    def put_back(self, job: Job, delay: float = 0.0) -> None:
        """Give up the lease: for another worker, or for another try after `delay` seconds."""
        with self._database.writing() as database:
            database.execute(
                "UPDATE jobs SET state = 'queued', lease = NULL, leased_until = NULL, due_at = ?,"
                " n_tries = n_tries + ? WHERE id = ? AND lease = ?",
                (self._clock() + delay, delay > 0, job.id, job.lease),
            )

    def finish(self, job: Job, result: str, duration: float) -> bool:
        """Keep the text; False, and nothing is kept, if the lease is gone."""
        with self._database.writing() as database:
            ended = self._end(database, job.id, "done", lease=job.lease, result=result)
            if ended is not None:
                database.execute(
                    "UPDATE jobs SET position = ?, duration = ? WHERE id = ?",
                    (duration, duration, job.id),
                )
        if ended is not None:
            self._remove_upload(job.id)
        return ended is not None

    def fail(self, job: Job, error: ServiceError) -> bool:
        """Keep the reason why there is no text; False if the lease is gone."""
        with self._database.writing() as database:
            ended = self._end(database, job.id, "failed", lease=job.lease, error=error)
        if ended is not None:
            self._remove_upload(job.id)
        return ended is not None

    # --- for webhooks

    def claim_delivery(self) -> Job | None:
        """A job whose webhook is to be sent now, and is counted as sent; None if there is none."""
        now = self._clock()
        if not self._has(_IS_DUE, now):
            return None
        with self._database.writing() as database:
            query = f"SELECT id FROM jobs WHERE {_IS_DUE} ORDER BY delivery_due_at LIMIT 1"
            row = database.execute(query, {"now": now}).fetchone()
            if row is None:
                return None
            database.execute(
                "UPDATE jobs SET n_deliveries = n_deliveries + 1, delivery_due_at = ? WHERE id = ?",
                (now + _DELIVERY, row["id"]),
            )
            return _job(database, row["id"])

    def delivered(self, job: Job) -> None:
        """The webhook was taken."""
        self._set_delivery(job, "delivered", None, None)

    def not_delivered(self, job: Job, error: str, delay: float | None) -> None:
        """It was not; it is sent again after `delay` seconds, or never where that is None."""
        due_at = None if delay is None else self._clock() + delay
        self._set_delivery(job, "failed" if due_at is None else "pending", error, due_at)

    # --- for all

    def sweep(self) -> None:
        """Forget what has expired, and end what was not done in its time."""
        if not self._database.exists:
            return
        now = self._clock()
        with self._database.told():
            names = self._uploads.names()  # first: each has had its row before it was written
        with self._database.writing() as database:
            self._give_up(database, now)
            late = TimedOut(
                f"The job was not done within {self._limits.max_age:g} s.",
                limit=self._limits.max_age,
            )
            rows = database.execute(
                "SELECT id FROM jobs WHERE state IN ('queued', 'running') AND expires_at <= ?",
                (now,),
            )
            for row in rows.fetchall():
                self._end(database, row["id"], "failed", error=late)
            database.execute(
                f"DELETE FROM jobs WHERE (NOT {_UNFINISHED} AND expires_at <= :now)"
                " OR (state = 'arriving' AND leased_until <= :now)",
                {"now": now},
            )
            rows = database.execute(f"SELECT id FROM jobs WHERE {_UNFINISHED}")
            names -= {row["id"] for row in rows}
        for name in names:
            self._remove_upload(name)

    def counts(self) -> dict[State, int]:
        """How many jobs there are in each state."""
        found = dict.fromkeys(STATES, 0)
        if self._database.exists:
            with self._database.reading() as database:
                rows = database.execute("SELECT state, count(*) AS n FROM jobs GROUP BY state")
                found |= {row["state"]: row["n"] for row in rows if row["state"] in found}
        return found

    # --- inside

    def _has(self, condition: str, now: float) -> bool:
        """Ask without a lock for writing, which pollers would keep from each other."""
        if not self._database.exists:
            return False
        with self._database.reading() as database:
            query = f"SELECT 1 FROM jobs WHERE {condition} LIMIT 1"
            return database.execute(query, {"now": now}).fetchone() is not None

    def _check_room(self, database: sqlite3.Connection, new: NewJob) -> None:
        query = (
            f"SELECT count(*) FILTER (WHERE {_UNFINISHED}) AS n,"
            f" count(*) FILTER (WHERE {_UNFINISHED} AND owner = ?) AS n_own,"
            " coalesce(sum(n_bytes), 0) AS n_bytes FROM jobs"
        )
        row, limits = database.execute(query, (new.owner,)).fetchone(), self._limits
        if new.owner and row["n_own"] >= limits.key_max_jobs:
            raise RateLimited(
                f"The API key has {row['n_own']} jobs that have not ended, all it may have.",
                retry_after=_RETRY_AFTER,
                limit=limits.key_max_jobs,
                what="jobs",
            )
        if row["n"] >= limits.max_jobs:
            raise Overloaded(
                f"{row['n']} jobs have not ended, and the limit is {limits.max_jobs}; try again"
                " later.",
                retry_after=_RETRY_AFTER,
                limit=limits.max_jobs,
            )
        if row["n_bytes"] + new.n_bytes + ROW_BYTES > limits.max_bytes:
            raise Overloaded(
                f"The jobs' files and texts have {row['n_bytes']:,} bytes, and with this one they"
                f" would have more than the {limits.max_bytes:,} that are kept; try again later.",
                retry_after=_RETRY_AFTER,
                max_bytes=limits.max_bytes,
            )

    def _insert(self, database: sqlite3.Connection, new: NewJob) -> str:
        now = self._clock()
        values = {
            "id": f"job_{secrets.token_hex(16)}",
            "owner": new.owner,
            "state": "arriving",
            "model": new.model,
            "options": _OPTIONS.dump_json(new.options).decode(),
            "response_format": new.response_format,
            "file_name": new.file_name,
            "n_bytes": new.n_bytes + ROW_BYTES,
            "created_at": now,
            "expires_at": now + self._limits.max_age,
            "due_at": now,
            "leased_until": now + _ARRIVAL,
            "idempotency_key": new.idempotency_key,
            "fingerprint": new.fingerprint,
            "webhook_url": new.webhook_url,
            "delivery": None if new.webhook_url is None else "waiting",
        }
        names = ", ".join(values)
        places = ", ".join(f":{name}" for name in values)
        database.execute(f"INSERT INTO jobs ({names}) VALUES ({places})", values)
        return str(values["id"])

    def _end(
        self,
        database: sqlite3.Connection,
        job_id: str,
        state: State,
        *,
        lease: str | None = None,
        result: str | None = None,
        error: ServiceError | None = None,
    ) -> Job | None:
        """The one way in which a job ends; None if it has, or, where one is given, its lease."""
        now = self._clock()
        values = {
            "id": job_id,
            "state": state,
            "now": now,
            "expires_at": now + self._limits.max_age,
            "result": result,
            "n_bytes": ROW_BYTES + len((result or "").encode()),
            "error": None if error is None else json.dumps(error.as_dict()["error"]),
            "lease": lease,
            # Who cancels a job knows that it has ended.
            "delivery": None if state == "cancelled" else "pending",
        }
        changed = database.execute(
            "UPDATE jobs SET state = :state, finished_at = :now, expires_at = :expires_at,"
            " result = :result, n_bytes = :n_bytes, error = :error, lease = NULL,"
            " leased_until = NULL, delivery_due_at = :now,"
            " delivery = CASE WHEN webhook_url IS NULL THEN NULL ELSE :delivery END"
            f" WHERE id = :id AND {_UNFINISHED} AND (:lease IS NULL OR lease = :lease)",
            values,
        )
        return _job(database, job_id) if changed.rowcount else None

    def _give_up(self, database: sqlite3.Connection, now: float) -> None:
        """End the jobs that seem to be what their workers die of."""
        rows = database.execute(
            "SELECT id FROM jobs WHERE state = 'running' AND leased_until <= ?"
            " AND n_breakdowns >= ?",
            (now, MAX_BREAKDOWNS - 1),
        )
        for row in rows.fetchall():
            error = InternalError(
                f"The service broke down {MAX_BREAKDOWNS} times while it worked on this."
            )
            self._end(database, row["id"], "failed", error=error)

    def _set_delivery(
        self, job: Job, delivery: Delivery, error: str | None, due_at: float | None
    ) -> None:
        with self._database.writing() as database:
            database.execute(
                "UPDATE jobs SET delivery = ?, delivery_error = ?, delivery_due_at = ?"
                " WHERE id = ? AND delivery = 'pending'",
                (delivery, error, due_at, job.id),
            )

    def _remove_upload(self, job_id: str) -> None:
        with self._database.told():
            self._uploads.remove(job_id)


def _known(database: sqlite3.Connection, new: NewJob) -> Job | None:
    if new.idempotency_key is None:
        return None
    query = "SELECT id, fingerprint FROM jobs WHERE owner = ? AND idempotency_key = ?"
    row = database.execute(query, (new.owner, new.idempotency_key)).fetchone()
    if row is None:
        return None
    if row["fingerprint"] != new.fingerprint:
        raise InvalidParameter(
            "The `Idempotency-Key` is that of another request, with another file or other fields;"
            " a new request needs a new one.",
            param="Idempotency-Key",
            got=new.idempotency_key,
            allowed="a key that is not used yet, or the same request again",
        )
    return _job(database, row["id"])


def _job(database: sqlite3.Connection, job_id: str) -> Job:
    query = f"SELECT {_COLUMNS} FROM jobs WHERE id = ?"
    return _from_row(database.execute(query, (job_id,)).fetchone())


def _from_row(row: Mapping[str, Any]) -> Job:
    fields = {name: row[name] for name in _COLUMNS.split(", ")}
    fields["options"] = _OPTIONS.validate_json(row["options"])
    fields["error"] = None if row["error"] is None else json.loads(row["error"])
    if row["state"] == "arriving":  # what a request that is sent twice may get to see
        fields["state"] = "queued"
    return Job(**fields)
