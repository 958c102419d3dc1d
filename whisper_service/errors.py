"""Everything that can go wrong for a reason a client may be told.

    ServiceError
    ├── InvalidRequest       400  the request cannot be read at all
    ├── InvalidParameter     422  a field has a wrong type, name or value
    │   ├── UnknownModel
    │   ├── UnknownLanguage
    │   └── MissingFile
    ├── InvalidAudio         422  the bytes hold no usable audio
    │   ├── EmptyAudio
    │   ├── UndecodableAudio
    │   ├── NoAudioTrack
    │   └── AudioTooShort
    ├── InvalidMessage       400  a socket message that the protocol does not allow
    │   ├── BinaryBeforeConfig
    │   └── InvalidResumeToken
    ├── Unauthorized         401  no key, or one that opens nothing
    ├── Forbidden            403  a key or an origin that does not open this
    ├── NotFound             404  nothing of that name, or nothing of this caller's
    ├── RateLimited          429  more than a key may have
    ├── PayloadTooLarge      413  more bytes than the limit
    ├── AudioTooLong         413  more seconds than the limit
    ├── TimedOut             408  a time limit of ours or a silent client
    │   └── IdleTimeout
    ├── Unavailable          503  try again, here or elsewhere
    │   ├── ModelUnavailable
    │   ├── Overloaded
    │   ├── StreamTooFast
    │   └── Restarting
    └── InternalError        500  a bug of ours; details stay in the log

A class carries `code` (what programs branch on), `http_status` and `ws_close_code` (RFC 6455,
section 7.4). The message is for people: what was wrong, what was got, what is allowed. `details`
are the same facts for programs; both reach the client, so neither may hold internals.
"""

from typing import Any, ClassVar

RETRY_AFTER = 1.0
"""Seconds a caller refused for want of a free decoder is told to wait: about one window."""


class ServiceError(Exception):
    """Base of the tree. Survives pickling, so that it can cross from a replica to another."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    ws_close_code: ClassVar[int] = 1011

    def __init__(self, message: str, *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        """Seconds after which another try makes sense; None where it never does."""
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.retry_after, self.details)

    def as_dict(self) -> dict[str, Any]:
        """The one JSON shape of an error: `{"error": {"code", "message", ...details}}`."""
        return {"error": {**self.details, "code": self.code, "message": self.message}}


def _rebuild(
    cls: type[ServiceError], message: str, retry_after: float | None, details: dict[str, Any]
) -> ServiceError:
    return cls(message, retry_after=retry_after, **details)


class InvalidRequest(ServiceError):
    """The request cannot be read at all: broken JSON, a wrong content type."""

    code, http_status, ws_close_code = "invalid_request", 400, 1007


class InvalidParameter(ServiceError):
    """A field has a wrong type, name or value. Details: `param`, `got`, `allowed`."""

    code, http_status, ws_close_code = "invalid_parameter", 422, 1008


class UnknownModel(InvalidParameter):
    """No model of that name is known here. Details: `param`, `got`, `allowed`."""

    code = "unknown_model"


class UnknownLanguage(InvalidParameter):
    """Not a language of Whisper's, or not one of this model's."""

    code = "unknown_language"


class MissingFile(InvalidParameter):
    """An upload without its `file` part."""

    code = "missing_file"


class InvalidAudio(ServiceError):
    """The bytes hold no usable audio."""

    code, http_status, ws_close_code = "invalid_audio", 422, 1007


class EmptyAudio(InvalidAudio):
    """No bytes at all."""

    code = "empty_audio"


class UndecodableAudio(InvalidAudio):
    """Not a container or codec that can be read."""

    code = "undecodable_audio"


class NoAudioTrack(InvalidAudio):
    """A readable container without sound: a silent video."""

    code = "no_audio_track"


class AudioTooShort(InvalidAudio):
    """Less sound than any word takes. Details: `duration`, `min_duration`."""

    code = "audio_too_short"


class InvalidMessage(ServiceError):
    """A socket message that the protocol does not allow at this point."""

    code, http_status, ws_close_code = "invalid_message", 400, 1007


class BinaryBeforeConfig(InvalidMessage):
    """Audio came before the configuration that says how to read it."""

    code, ws_close_code = "binary_before_config", 1003


class InvalidResumeToken(InvalidMessage):
    """The token was not made by this service, was changed, or is too old."""

    code, ws_close_code = "invalid_resume_token", 1008


class Unauthorized(ServiceError):
    """No API key or token was sent, or one that opens nothing."""

    code, http_status, ws_close_code = "unauthorized", 401, 1008


class Forbidden(ServiceError):
    """The key, or the page's origin, does not open this. Details: `got`, `allowed`."""

    code, http_status, ws_close_code = "forbidden", 403, 1008


class NotFound(ServiceError):
    """Nothing of that name, or nothing that this caller may know of."""

    code, http_status, ws_close_code = "not_found", 404, 1008


class RateLimited(ServiceError):
    """The key has as much as it may have. Details: `limit`, `what` it counts."""

    code, http_status, ws_close_code = "rate_limited", 429, 1013


class PayloadTooLarge(ServiceError):
    """More bytes than the limit. Details: `max_bytes`."""

    code, http_status, ws_close_code = "payload_too_large", 413, 1009


class AudioTooLong(ServiceError):
    """More audio than the limit. Details: `max_duration` in seconds."""

    code, http_status, ws_close_code = "audio_too_long", 413, 1009


class TimedOut(ServiceError):
    """A time limit of ours was reached. Details: `limit` in seconds."""

    code, http_status, ws_close_code = "timed_out", 408, 1008


class IdleTimeout(TimedOut):
    """The client sent nothing for too long."""

    code = "idle_timeout"


class Unavailable(ServiceError):
    """Not now; the same request can succeed later or elsewhere."""

    code, http_status, ws_close_code = "unavailable", 503, 1013


class ModelUnavailable(Unavailable):
    """The model is known, its weights cannot be had. Details: `model`, `path` to put them."""

    code = "model_unavailable"


class Overloaded(Unavailable):
    """At a limit on concurrent work."""

    code = "overloaded"


class StreamTooFast(Unavailable):
    """More audio is waiting than the stream may hold. Details: `max_seconds`."""

    code, ws_close_code = "stream_too_fast", 1008


class Restarting(Unavailable):
    """The replica is going away; connect again and resume."""

    code, ws_close_code = "restarting", 1012


class InternalError(ServiceError):
    """A bug of ours. The message is always the same; the log has the traceback."""

    def __init__(self, message: str = "Internal error; it has been logged.", **details: Any):
        super().__init__(message, **details)
