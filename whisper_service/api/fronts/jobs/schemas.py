"""The form of POST /jobs, and what is answered of a job."""

import json

from pydantic import Field

from whisper_service.api.schemas.base import ErrorDetail, Output
from whisper_service.api.schemas.forms import TranscriptForm
from whisper_service.api.schemas.transcripts import TranscriptBody, VerboseTranscriptBody
from whisper_service.formats import ResponseFormat
from whisper_service.jobs.job import Delivery, Job, State


class JobForm(TranscriptForm):
    """The form of /jobs."""

    webhook_url: str | None = Field(
        None,
        description="Where to send a signed message to when the job has ended; for services with a"
        " `WHISPER_WEBHOOK_SECRET`.",
        examples=[""],
    )


class ProgressBody(Output):
    """How far a job is, in seconds of its audio."""

    position: float = Field(description="Seconds whose text is final.", examples=[11.0])
    duration: float | None = Field(
        description="Seconds in all; null while that is not known.", examples=[11.0]
    )


class WebhookBody(Output):
    """What became of a job's webhook."""

    url: str = Field(description="Where it goes.", examples=["https://example.com/hook"])
    state: Delivery = Field(
        description="`waiting` for the job to end, `pending` until it is taken, `delivered`, or"
        " `failed`, which is not tried again.",
        examples=["delivered"],
    )
    attempts: int = Field(description="Times it was sent.", examples=[1])
    error: str | None = Field(
        description="What the receiver did the last time it did not take it.", examples=[None]
    )


class JobBody(Output):
    """A job."""

    id: str = Field(
        description="What to ask for it by.", examples=["job_0f2a31c7a1d94a7e8a54c5d1f0a9b3e2"]
    )
    state: State = Field(
        description="`queued`, `running`, or how it ended: `done`, `failed`, `cancelled`.",
        examples=["done"],
    )
    model_size: str = Field(description="The model it is decoded with.", examples=["base"])
    response_format: ResponseFormat = Field(description="The form of its text.", examples=["json"])
    file_name: str = Field(description="What its file was called.", examples=["sample.wav"])
    created_at: int = Field(description="When it came, in Unix seconds.", examples=[1_800_000_000])
    started_at: int | None = Field(description="When it was begun.", examples=[1_800_000_001])
    finished_at: int | None = Field(description="When it ended.", examples=[1_800_000_003])
    expires_at: int = Field(
        description="When it is forgotten; of one that has not ended, when it fails.",
        examples=[1_800_086_403],
    )
    progress: ProgressBody = Field(description="How far it is.")
    result: TranscriptBody | VerboseTranscriptBody | str | None = Field(
        None,
        description="Once it is done, what /transcribe would have answered: an object in `json` and"
        " `verbose_json`, text in the other formats. Left out of lists.",
        examples=[{"text": "one two three", "language": "en", "duration": 2.4}],
    )
    error: ErrorDetail | None = Field(
        description="Why it failed, as every error has it.", examples=[None]
    )
    webhook: WebhookBody | None = Field(
        description="What became of its webhook, if it has one.", examples=[None]
    )


class JobsBody(Output):
    """Jobs, newest first."""

    jobs: list[JobBody] = Field(description="The jobs, without their texts.")
    has_more: bool = Field(
        description="There are older ones: ask again with the last one's id as `before`.",
        examples=[False],
    )


def job_body(job: Job) -> JobBody:
    """What is answered of a job, but for its text."""
    webhook = None
    if job.webhook_url is not None and job.delivery is not None:
        webhook = WebhookBody(
            url=job.webhook_url,
            state=job.delivery,
            attempts=job.n_deliveries,
            error=job.delivery_error,
        )
    return JobBody.model_validate(
        {
            "id": job.id,
            "state": job.state,
            "model_size": job.model,
            "response_format": job.response_format,
            "file_name": job.file_name,
            "created_at": int(job.created_at),
            "started_at": _whole(job.started_at),
            "finished_at": _whole(job.finished_at),
            "expires_at": int(job.expires_at),
            "progress": {"position": round(job.position, 3), "duration": job.duration},
            "error": job.error,
            "webhook": webhook,
        }
    )


def job_json(job: Job, text: str | None) -> str:
    """A job with its text, as JSON. A text that is JSON is put in as it is: one of hours is long,
    and may have been written by a version before this one."""
    body = job_body(job).model_dump_json(exclude={"result"})
    is_json = job.response_format in ("json", "verbose_json")
    result = text if text is not None and is_json else json.dumps(text, ensure_ascii=False)
    return f'{body[:-1]},"result":{result}}}'


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
