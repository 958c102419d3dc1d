"""What a replica does for jobs beside answering: the work, and the webhooks."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from whisper_service.api.files.transcription import Transcriber
from whisper_service.api.fronts.jobs.webhooks import WebhookSender
from whisper_service.api.fronts.jobs.worker import JobWorker
from whisper_service.api.http.limits import Limit
from whisper_service.api.metrics import Metrics
from whisper_service.api.tasks import task_group
from whisper_service.jobs.store import JobStore, StoreLimits
from whisper_service.settings import Settings


class JobsBackground:
    """Its `lifespan` is the application's. Without that, jobs are taken, and wait for others."""

    def __init__(
        self,
        settings: Settings,
        transcriber: Transcriber,
        uploads: Limit,
        draining: Callable[[], bool],
        metrics: Metrics,
    ) -> None:
        """`uploads`: the replica's places, of which a job takes one while it runs."""
        limits = StoreLimits(
            settings.max_jobs, settings.key_max_jobs, settings.max_job_bytes, settings.job_max_age
        )
        self.store = JobStore(settings.jobs_dir.expanduser(), limits)
        self._worker = JobWorker(settings, self.store, transcriber, uploads, draining, metrics)
        self._rounds = [self._worker.rounds]
        if settings.webhook_secret:
            sender = WebhookSender(settings, self.store, metrics)
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
