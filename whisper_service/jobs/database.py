"""The SQLite file of the jobs: its schema, its transactions, and how its errors are told.

Journal mode DELETE, not WAL: write-ahead logging shares memory between processes, so it works on
one machine only (https://sqlite.org/wal.html), while a rollback journal needs nothing but file
locks, which NFS 4, and so EFS, has. Each transaction opens the file anew: that takes a
fifth of a millisecond, and no thread, fork or network mount is left with a stale handle.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from whisper_service.errors import Unavailable

logger = logging.getLogger(__name__)

_VERSION = 1
_BUSY_TIMEOUT = 10.0
"""Seconds to wait for the others' transactions, each of which takes milliseconds."""
_RETRY_AFTER = 30.0

_SCHEMA = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    state TEXT NOT NULL,  -- as in job.py, and 'arriving' while its upload is written
    model TEXT NOT NULL,
    options TEXT NOT NULL,
    response_format TEXT NOT NULL,
    file_name TEXT NOT NULL,
    n_bytes INTEGER NOT NULL,  -- kept now: of the upload, then of the text
    created_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    expires_at REAL NOT NULL,
    position REAL NOT NULL DEFAULT 0,
    duration REAL,
    error TEXT,
    idempotency_key TEXT,
    fingerprint TEXT NOT NULL,
    webhook_url TEXT,
    delivery TEXT,
    delivery_due_at REAL,
    delivery_error TEXT,
    n_deliveries INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL,  -- not to be begun before
    lease TEXT,
    leased_until REAL,
    n_tries INTEGER NOT NULL DEFAULT 0,
    n_breakdowns INTEGER NOT NULL DEFAULT 0,  -- leases that ran out
    result TEXT  -- last: a row is read without the pages of a long text
);
CREATE UNIQUE INDEX jobs_by_idempotency_key ON jobs (owner, idempotency_key);
CREATE INDEX jobs_by_state ON jobs (state, created_at);
CREATE INDEX jobs_by_owner ON jobs (owner, created_at);
CREATE INDEX jobs_by_delivery ON jobs (delivery_due_at) WHERE delivery = 'pending';
"""


class Database:
    """Hands out transactions. Everything here blocks: not for an event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def exists(self) -> bool:
        """Whether there was ever a job. Until then nothing is written."""
        return self._path.exists()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one moment of the database, and is to change nothing."""
        with self.told(), closing(self._connect()) as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else's can come between: all of it happens, or nothing."""
        with self.told(), closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection

    def _connect(self) -> sqlite3.Connection:
        if not self.exists:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, mode=0o600))
        connection = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")  # texts are personal data
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        if _version(connection) == _VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            version = _version(connection)  # another replica may have come first
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
            elif version != _VERSION:
                raise sqlite3.DatabaseError(
                    f"{self._path} is of version {version}; this service writes {_VERSION}"
                )

    @contextmanager
    def told(self) -> Iterator[None]:
        """What goes wrong with the disk is the operator's: a line in the log, and `Unavailable`."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            logger.error("The jobs in %s cannot be used: %s", self._path.parent, error)
            raise Unavailable(
                "Jobs cannot be kept here now; the service's log says why. /transcribe needs no"
                " such place.",
                retry_after=_RETRY_AFTER,
            ) from error


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
