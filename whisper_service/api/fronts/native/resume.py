"""Resume tokens: all a replica must know to go on with a stream, in the client's own keeping.

Not encrypted: one holds the configuration and the last words of the very client it is given to.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

from itsdangerous import BadSignature, SignatureExpired

from whisper_service.api.access.signing import Signing
from whisper_service.errors import InvalidResumeToken
from whisper_service.policy.stream_events import StreamState

MAX_AGE = 3600.0
"""Seconds after which a resume token is refused."""


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """A stream between two messages."""

    session_id: str
    config: dict[str, Any]
    """The first message, as understood."""
    state: StreamState
    seq: int
    """Of the message that carries the token."""


class ResumeTokens:
    """Makes and reads tokens. Every replica needs the same key."""

    def __init__(self, key: str, max_age: float = MAX_AGE) -> None:
        self._signing = Signing(key, "stream-resume")
        self._max_age = max_age

    def sign(self, point: ResumePoint) -> str:
        """The token for `point`."""
        return self._signing.sign(asdict(point), int(time.time() + self._max_age))

    def read(self, token: str) -> ResumePoint:
        """The point a token was made for; raises `InvalidResumeToken`."""
        try:
            fields = self._signing.read(token, time.time())
            return ResumePoint(**{**fields, "state": StreamState(**fields["state"])})
        except SignatureExpired:
            raise InvalidResumeToken(
                f"The resume token is older than {self._max_age:g} s; begin a new stream.",
                max_age=self._max_age,
            ) from None
        except (BadSignature, TypeError, KeyError):  # the last two: the fields of another version
            raise InvalidResumeToken(
                "The resume token was not made by this service, or was changed on the way;"
                " send the last one exactly as it came, or begin a new stream."
            ) from None
