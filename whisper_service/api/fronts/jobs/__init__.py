"""Files whose text is fetched later: POST /jobs, the work on them, and the webhooks that tell."""

from fastapi import APIRouter

from whisper_service.api.fronts.front import Front, Replica
from whisper_service.api.fronts.jobs.background import JobsBackground
from whisper_service.api.fronts.jobs.router import jobs_router


def _routers(replica: Replica) -> list[APIRouter]:
    if not replica.settings.jobs:
        return []
    return [jobs_router(replica.settings, replica.decoder, JobsBackground(replica))]


FRONT = Front(
    paths={"/jobs": "transcribe"},
    routers=_routers,
    is_deferred=True,
    tags={"jobs": "The same later: take a file, ask for its text by an id."},
)
