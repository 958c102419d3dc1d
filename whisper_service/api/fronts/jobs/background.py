"""What a replica does for jobs beside answering: the work, and the webhooks."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from whisper_service.api.fronts.front import Replica
from whisper_service.api.fronts.jobs.webhooks import WebhookSender
from whisper_service.api.fronts.jobs.worker import JobWorker
from whisper_service.api.tasks import task_group
from whisper_service.jobs.store import JobStore, StoreLimits

KEY_SHARE = 0.1
"""Of all jobs, that those of one key may be: it leaves room for others."""


class JobsBackground:
    """Its `lifespan` is part of the application's. Without, jobs are taken, and wait for others."""

    def __init__(self, replica: Replica) -> None:
        settings = replica.settings
        limits = StoreLimits(
            max_jobs=settings.max_jobs,
            key_max_jobs=math.ceil(settings.max_jobs * KEY_SHARE),
            max_bytes=settings.max_job_bytes,
            max_age=settings.job_max_age,
        )
        self.store = JobStore(settings.jobs_dir.expanduser(), limits)
        self._worker = JobWorker(replica, self.store)
        self._rounds = [self._worker.rounds]
        if settings.webhook_secret:
            sender = WebhookSender(settings, self.store, replica.metrics)
            self._rounds.append(sender.rounds)
            self._worker.ended = sender.rounds.stir

    def stir(self) -> None:
        """A job has come."""
        self._worker.rounds.stir()

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Work for as long as the application serves; then put back what is not done."""
        async with task_group() as group:
            working = [group.create_task(rounds.run()) for rounds in self._rounds]
            yield
            for task in working:
                task.cancel()
