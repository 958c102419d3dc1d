"""A job on its way through an engine, and what becomes of it."""

from dataclasses import dataclass

from whisper_service.errors import ServiceError
from whisper_service.types import DecodeJob, Hypothesis


@dataclass(slots=True, eq=False)
class Request:
    """A job and, once there is one, its answer."""

    job: DecodeJob
    outcome: Hypothesis | ServiceError | None = None
    admitted: float | None = None
    """When it joined the batch, in seconds since the epoch; for traces, and so is the next."""
    encoded: float | None = None
