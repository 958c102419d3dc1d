"""A job on its way through an engine, and what becomes of it."""

from dataclasses import dataclass, replace

from whisper_service.errors import ServiceError
from whisper_service.types import DecodeJob, Hypothesis


@dataclass(slots=True, eq=False)
class Ticket:
    """A job and, once there is one, its answer."""

    job: DecodeJob
    outcome: Hypothesis | ServiceError | None = None
    is_tie: bool = False
    """Whether the outcome hung on less than its arithmetic can tell (`Engine.exact` can)."""
    admitted: float | None = None
    """When it joined the batch, in seconds since the epoch; for traces, and so is the next."""
    encoded: float | None = None


def settling(job: DecodeJob) -> DecodeJob:
    """What is asked of the exact engine about a job that is a tie: its greedy decode again, which
    was good enough, and none of what would come after a failed one."""
    return replace(job, options=replace(job.options, temperatures=(0.0,), best_of=None))
