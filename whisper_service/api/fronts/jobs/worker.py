"""One replica's share of the work on jobs: takes them, transcribes them, keeps what came of them.

A job goes the way of every upload, `Transcriber.transcribe`, and takes one of the replica's places
for uploads. It is begun only where it keeps no upload waiting whose client waits for the answer.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

from whisper_service.api.files.transcription import Progress
from whisper_service.api.fronts.front import Replica
from whisper_service.api.fronts.jobs.rounds import Rounds
from whisper_service.api.http.limits import Limit
from whisper_service.api.live.driver import is_passing
from whisper_service.api.metrics import ENDED_JOBS, QUEUED_JOBS, RUNNING_JOBS
from whisper_service.api.tasks import task_group
from whisper_service.errors import InternalError, Overloaded, ServiceError, Unavailable
from whisper_service.formats import FORMATS
from whisper_service.jobs.job import Job
from whisper_service.jobs.store import LEASE, JobStore
from whisper_service.types import Transcript

logger = logging.getLogger(__name__)

RENEW = 2.0
"""Seconds between two renewals of a lease, which also tell how far a job is; a lease outlives many
that fail."""
SWEEP = 30.0
"""Seconds between looks for what has expired."""
FIRST_DELAY, LAST_DELAY = 5.0, 300.0
"""Seconds until a job is tried again whose decoder was away or full; doubled each time."""


class JobWorker:
    """Works for as long as its `rounds` run; what is not done then is put back for others. Several,
    in as many processes, may share a store."""

    def __init__(self, replica: Replica, store: JobStore) -> None:
        """A job takes one of the replica's places for uploads while it runs."""
        self._store = store
        self._transcriber = replica.transcriber
        self._uploads = replica.uploads
        self._draining = replica.draining
        self._metrics = replica.metrics
        self._places = Limit(replica.settings.max_running_jobs, "jobs")
        self._swept_at = -SWEEP
        self.rounds = Rounds(self._look)
        """To be run; to be stirred when a job came."""
        self.ended: Callable[[], None] = lambda: None
        """Called when one has ended: there may be a webhook to send."""

    async def _look(self, group: asyncio.TaskGroup) -> None:
        await self._sweep()
        await self._begin(group)

    async def _sweep(self) -> None:
        now = time.monotonic()
        if now - self._swept_at >= SWEEP:
            self._swept_at = now
            await asyncio.to_thread(self._store.sweep)
            counts = await asyncio.to_thread(self._store.counts)
            self._metrics.record(QUEUED_JOBS, counts["queued"])

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        """Begin as many jobs as there is room for."""
        while self._has_room:
            job = await asyncio.to_thread(self._store.claim)
            if job is None:
                return
            with ExitStack() as places:
                try:
                    places.enter_context(self._places.admit())
                    places.enter_context(self._uploads.admit())
                except Overloaded:  # an upload came meanwhile
                    await asyncio.to_thread(self._store.put_back, job)
                    return
                group.create_task(self._work(job, places.pop_all()))

    @property
    def _has_room(self) -> bool:
        return (
            self._places.has_room
            and self._uploads.has_room
            and self._transcriber.admission.has_room_for_jobs
            and not self._draining()
        )

    async def _work(self, job: Job, places: ExitStack) -> None:
        """Bring a job to its end, or put it back."""
        self._metrics.record(RUNNING_JOBS, self._places.n_now)
        try:
            with places:
                outcome = await self._outcome(job)
            await self._keep(job, outcome)
        except asyncio.CancelledError:
            with suppress(Unavailable):
                await asyncio.to_thread(self._store.put_back, job)
            raise
        except _LeaseLost:
            logger.info("%s was cancelled, or is another replica's now", job.id)
        except Unavailable:  # nothing can be kept: its lease runs out, and it is done again
            pass
        finally:
            self._metrics.record(RUNNING_JOBS, self._places.n_now)
            self.rounds.stir()

    async def _outcome(self, job: Job) -> "_Text | ServiceError":
        """Its text, or what went wrong; raises `_LeaseLost`."""
        try:
            transcript = await self._transcribe(job)
            text = FORMATS[job.response_format].render(transcript)
            return _Text(text, transcript.duration)
        except ServiceError as error:
            return error
        except (_LeaseLost, asyncio.CancelledError):
            raise
        except Exception:  # a shell, as that of a request: a bug ends one job, not all
            logger.exception("%s failed", job.id)
            return InternalError()

    async def _transcribe(self, job: Job) -> Transcript:
        position, duration = 0.0, None

        async def report(progress: Progress) -> None:
            nonlocal position, duration
            position, duration = progress.position, progress.duration

        async def hold_lease() -> None:
            kept_at = time.monotonic()
            while True:
                await asyncio.sleep(RENEW)
                try:
                    is_ours = await asyncio.to_thread(self._store.renew, job, position, duration)
                except Unavailable:
                    is_ours = time.monotonic() - kept_at < LEASE
                else:
                    kept_at = time.monotonic()
                if not is_ours:
                    raise _LeaseLost

        # Nobody waits on a connection, so a job may take until it expires: then its lease is gone,
        # shortly before this deadline, and the store says why.
        left = job.expires_at - time.time() + LEASE
        deadline = asyncio.get_running_loop().time() + left
        async with task_group() as group:
            holding = group.create_task(hold_lease())
            async with self._opened(job) as file:
                transcript = await self._transcriber.transcribe(
                    file, job.model, job.options, deadline, report
                )
            holding.cancel()
        return transcript

    @asynccontextmanager
    async def _opened(self, job: Job) -> AsyncIterator[BinaryIO]:
        """The job's file; closed also if it is opened only after its job was cancelled."""
        opening = asyncio.ensure_future(asyncio.to_thread(self._store.open_upload, job))
        try:
            file = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise
        with file:
            yield file

    async def _keep(self, job: Job, outcome: "_Text | ServiceError") -> None:
        if isinstance(outcome, ServiceError) and is_passing(outcome):
            delay = max(outcome.retry_after or 0.0, FIRST_DELAY * 2**job.n_tries)
            logger.info("%s is put back for %.0f s: %s", job.id, delay, outcome.message)
            await asyncio.to_thread(self._store.put_back, job, min(delay, LAST_DELAY))
            return
        if isinstance(outcome, ServiceError):
            is_kept = await asyncio.to_thread(self._store.fail, job, outcome)
        else:
            is_kept = await asyncio.to_thread(
                self._store.finish, job, outcome.text, outcome.duration
            )
        if is_kept:
            state = "failed" if isinstance(outcome, ServiceError) else "done"
            self._metrics.record(ENDED_JOBS, 1, state=state)
            self.ended()


@dataclass(frozen=True, slots=True)
class _Text:
    text: str
    duration: float


class _LeaseLost(Exception):
    """The job is not this worker's any more."""


def _close(opening: asyncio.Future[BinaryIO]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
