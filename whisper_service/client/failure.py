"""What ends a command early, with what the person is told and the exit code of the process."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """How a command ends."""

    OK = 0
    REFUSED = 1
    """The service answered with an error."""
    WRONG_ARGUMENTS = 2
    UNREACHABLE = 3
    """No connection could be made, or it broke and could not be made again."""
    UNREADABLE = 4
    """The audio could not be read here."""
    INTERRUPTED = 130
    """Ctrl-C: 128 and the signal's number, as shells have it."""


class ClientFailure(Exception):
    """Raised anywhere in the client, told once by the command line."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Refused(ClientFailure):
    """The service said no; `error` is its own code, what programs branch on."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.error = str(fields.get("code", "unknown"))
        self.retry_after = fields.get("retry_after")
        message = fields.get("message", "The service gave no reason.")
        super().__init__(f"{message} [{self.error}]", ExitCode.REFUSED)


_OF_ALL = {"unauthorized", "forbidden", "unknown_model", "unknown_language"}
"""Refusals that another recording with the same arguments would meet again."""


class Unreachable(ClientFailure):
    """Nobody answers there."""


def concerns_all(failure: ClientFailure) -> bool:
    """Whether whatever else is sent there would fail for the same reason."""
    if isinstance(failure, Refused):
        return failure.error in _OF_ALL
    return isinstance(failure, Unreachable)


def unreachable(url: str, reason: object) -> Unreachable:
    """Nobody answers at `url`."""
    return Unreachable(
        f"No service answers at {url}: {reason or 'no reason was given'}. Is it running"
        " (`make run`)? Another address goes into --url.",
        ExitCode.UNREACHABLE,
    )
