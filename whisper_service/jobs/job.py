"""A job as it is kept: a file to transcribe later, how far that is, and what came of it."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from whisper_service.types import FileOptions

State = Literal["queued", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
UNFINISHED: tuple[State, ...] = ("queued", "running")

Delivery = Literal["waiting", "pending", "delivered", "failed"]
"""Of a webhook: the job has not ended; it is to be sent; it was taken; it was given up."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a caller wants done with a file."""

    owner: str
    """Whose it is, "" where nobody is asked for a key. To others there is no such job."""
    model: str
    options: FileOptions
    response_format: str
    file_name: str
    n_bytes: int
    webhook_url: str | None = None
    idempotency_key: str | None = None
    """The caller's own name for this request, so that it can be sent twice and be done once."""
    fingerprint: str = ""
    """Of all that a request asks for, its file too; two with one idempotency key have to agree."""


@dataclass(frozen=True, slots=True)
class Job:
    """One row, without its text. Times are Unix seconds, positions seconds of audio."""

    id: str
    owner: str
    state: State
    model: str
    options: FileOptions
    response_format: str
    file_name: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    expires_at: float
    position: float
    duration: float | None
    """Of all its audio, as far as is known."""
    error: dict[str, Any] | None
    """What `ServiceError.as_dict` has under `error`, of one that failed."""
    webhook_url: str | None
    delivery: Delivery | None
    n_deliveries: int
    """Times the webhook was sent, or tried to be."""
    delivery_error: str | None
    lease: str | None
    """Who works on it: what a worker has to show to change it."""
    n_tries: int
    """Times it was put back because a decoder was away or full."""
