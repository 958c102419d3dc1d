"""Which stream the work at hand is for, so that log lines can say it.

Serve gives every request an id, carries it from the ingress to WhisperASR, and puts it into the
lines of both. What a client knows of its stream is the session id in `ready`; it lives in the
context of the stream's task, and travels in `DecodeJob.session_id`.
"""

import logging
from contextvars import ContextVar

_session_id: ContextVar[str] = ContextVar("session_id", default="")


def name_session(session_id: str) -> None:
    """From here on the current task, and those it starts, work for this stream."""
    _session_id.set(session_id)


def current_session() -> str:
    """The stream's session id; empty for what belongs to none."""
    return _session_id.get()


class SessionFilter(logging.Filter):
    """Lets every line pass, with the attribute `session_id` if it is of a stream."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        if session_id := _session_id.get():
            record.session_id = session_id
        return True
