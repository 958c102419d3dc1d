"""The routes of jobs: make one, see how far it is, list one's own, end one."""

import asyncio
import hashlib
import json
from dataclasses import asdict, replace
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, Form, Header, Path, Query, Request
from starlette.responses import Response

from whisper_service.api.catalog import check_model, resolve_model
from whisper_service.api.decoder import Decoder
from whisper_service.api.files.errors import FILE_ERRORS
from whisper_service.api.files.multipart import MULTIPART, FormRoute, real_file
from whisper_service.api.fronts.jobs.background import JobsBackground
from whisper_service.api.fronts.jobs.destination import read_webhook_url
from whisper_service.api.fronts.jobs.schemas import JobBody, JobForm, JobsBody, job_body, job_json
from whisper_service.api.http.params import refuse_repeats
from whisper_service.api.http.request import facts_of
from whisper_service.api.http.responses import errors
from whisper_service.errors import (
    Forbidden,
    InvalidAudio,
    InvalidParameter,
    NotFound,
    RateLimited,
    ServiceError,
    Unauthorized,
    Unavailable,
)
from whisper_service.jobs.job import Job, NewJob
from whisper_service.jobs.store import JobStore
from whisper_service.settings import Settings

MAX_LISTED = 100
MAX_IDEMPOTENCY_KEY = 255
"""Characters, as Stripe's API has it, whose header it is."""
MAX_FILE_NAME = 255
_PIECE = 2**20
_POLL_AFTER = 2
"""Seconds after which to ask again: as often as progress is kept."""
_ID = r"^job_[0-9a-f]{32}$"

JobId = Annotated[str, Path(description="What POST /jobs answered as `id`.", pattern=_ID)]

_CANNOT_KEEP = Unavailable(
    "Jobs cannot be kept here now; the service's log says why.", retry_after=30
)
_LIST_ERRORS: tuple[ServiceError, ...] = (
    *(error for error in FILE_ERRORS if isinstance(error, (Unauthorized, Forbidden, RateLimited))),
    InvalidParameter(
        "`limit` is 0; allowed is 1 or more.", param="limit", got=0, allowed="1 or more"
    ),
    _CANNOT_KEEP,
)
_JOB_ERRORS: tuple[ServiceError, ...] = (
    *(error for error in _LIST_ERRORS if not isinstance(error, InvalidParameter)),
    InvalidParameter(
        f"`job_id` is '7'; allowed is text of the form {_ID}.",
        param="job_id",
        got="7",
        allowed=f"text of the form {_ID}",
    ),
    NotFound("There is no such job: it has expired, was deleted, or is another key's."),
)
_ADD_ERRORS: tuple[ServiceError, ...] = (
    *(error for error in FILE_ERRORS if not isinstance(error, InvalidAudio)),
    _CANNOT_KEEP,
)


def jobs_router(settings: Settings, decoder: Decoder, background: JobsBackground) -> APIRouter:
    """The routes, and the work as their lifespan."""
    router = APIRouter(
        prefix="/jobs", tags=["jobs"], route_class=FormRoute, lifespan=background.lifespan
    )
    store = background.store

    @router.post(
        "",
        status_code=202,
        summary="Transcribe a file later",
        dependencies=[Depends(refuse_repeats(JobForm))],
        responses={202: _ACCEPTED, **errors(*_ADD_ERRORS)},
    )
    async def add_job(
        form: Annotated[JobForm, Form(media_type=MULTIPART)],
        request: Request,
        response: Response,
        idempotency_key: Annotated[
            str | None,
            Header(
                description="A name of your own for this request: sent again with the same one, it"
                " makes no second job, and the first one is answered.",
                max_length=MAX_IDEMPOTENCY_KEY,
            ),
        ] = None,
    ) -> JobBody:
        """Take a file as /transcribe does, and answer at once with a job to ask for by its id.

        The file is on disk by then, and what happens to the service does not matter to the job:
        one that was broken off is begun again. It waits behind live streams, and behind uploads
        whose clients wait for the answer.
        """
        model = await resolve_model(decoder, settings, form.model_size)
        options = form.options()
        await check_model(decoder, model, options.decode)
        webhook_url = read_webhook_url(form.webhook_url, settings) if form.webhook_url else None
        file = await real_file(form.file)
        new = NewJob(
            owner=_owner(request),
            model=model,
            options=options,
            response_format=form.response_format,
            file_name=_sane(form.file.filename or ""),
            n_bytes=form.file.size or 0,
            webhook_url=webhook_url,
            idempotency_key=idempotency_key or None,
        )
        job = await asyncio.to_thread(_add, store, new, file)
        background.stir()
        # Relative, so that a path prefix in front of the service does no harm.
        response.headers["Location"] = f"jobs/{job.id}"
        response.headers["Retry-After"] = str(_POLL_AFTER)
        return job_body(job)

    @router.get(
        "/{job_id}",
        summary="What became of a job?",
        response_model=JobBody,
        responses=errors(*_JOB_ERRORS),
    )
    async def get_job(job_id: JobId, request: Request) -> Response:
        """Its state, how far it is, and, once it has ended, its text or what went wrong."""
        job, text = await asyncio.to_thread(store.find, _owner(request), job_id)
        headers = {"Cache-Control": "no-store"}
        if job.finished_at is None:
            headers["Retry-After"] = str(_POLL_AFTER)
        return Response(job_json(job, text), media_type="application/json", headers=headers)

    @router.get("", summary="List one's jobs", responses=errors(*_LIST_ERRORS))
    async def list_jobs(
        request: Request,
        limit: Annotated[
            int, Query(description="Jobs at the most.", ge=1, le=MAX_LISTED, examples=[20])
        ] = 20,
        before: Annotated[
            str | None,
            Query(
                description="Only those that came before the job of this id.",
                pattern=_ID,
            ),
        ] = None,
    ) -> JobsBody:
        """The jobs of the API key that asks, newest first, without their texts.

        Only where there are keys: elsewhere whoever asks would see everybody's.
        """
        owner = _owner(request)
        if not owner:
            raise Forbidden(
                "Jobs are listed by API key, and this service asks for none; keep the ids."
            )
        jobs = await asyncio.to_thread(store.jobs_of, owner, limit + 1, before)
        listed = [job_body(job) for job in jobs[:limit]]
        return JobsBody(jobs=listed, has_more=len(jobs) > limit)

    @router.delete(
        "/{job_id}", status_code=204, summary="End a job", responses=errors(*_JOB_ERRORS)
    )
    async def delete_job(job_id: JobId, request: Request) -> None:
        """Cancel a job that has not ended, or forget one that has. Its file and its text are
        removed either way; of a cancelled one it is still known, until it expires, that it was."""
        await asyncio.to_thread(store.delete, _owner(request), job_id)

    return router


_ACCEPTED = {
    "description": "The job is kept.",
    "headers": {
        "Location": {
            "description": "Where to ask for it, relative to this address.",
            "schema": {"type": "string"},
        },
        "Retry-After": {
            "description": "Seconds after which to ask.",
            "schema": {"type": "integer"},
        },
    },
}


def _owner(request: Request) -> str:
    """Whose jobs a request may see: its key's. By hash, as names may be given to another key; a
    key that is removed and made anew has none of the old one's."""
    grant = facts_of(request.scope).grant
    return "" if grant is None else grant.key.sha256


def _add(store: JobStore, new: NewJob, file: BinaryIO) -> Job:
    """Blocks: it reads the file, twice where it has to be told apart from another."""
    if new.idempotency_key is not None:
        new = replace(new, fingerprint=_fingerprint(new, file))
    return store.add(new, file)


def _fingerprint(new: NewJob, file: BinaryIO) -> str:
    asked = (new.model, asdict(new.options), new.response_format, new.webhook_url)
    digest = hashlib.sha256(json.dumps(asked).encode())
    file.seek(0)
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _sane(name: str) -> str:
    """A file's name, fit to be kept and said back."""
    return name[:MAX_FILE_NAME].encode("utf-8", "replace").decode()
