"""What is kept of an API key: its name, its hash, what it opens and how much of it.

A key is 32 random bytes, so one round of SHA-256 is enough at rest: there is no dictionary to try,
as there is for passwords (NIST SP 800-63B, section 5.1.2, on look-up secrets of 112 bits and more).
"""

import hashlib
import secrets
from collections.abc import Iterable
from hmac import compare_digest
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Scope = Literal["transcribe", "stream"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""`transcribe` is all that takes a file, `stream` all that is a socket."""

PREFIX = "wsk_"
"""Lets people and scanners of leaked secrets tell a key from other strings."""
MAX_KEY = 256
"""Characters of a key; more is no key of anybody's, and is not even hashed."""

Quota = Annotated[int | None, Field(ge=1)]


class ApiKey(BaseModel):
    """One key, without the key."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = SCOPES
    requests_per_minute: Quota = None
    upload_bytes_per_minute: Quota = None
    max_uploads: Quota = None
    max_streams: Quota = None


def new_key() -> str:
    """A key nobody can guess, of letters that fit a header, a shell and a socket's subprotocol."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """What is kept of a key: 64 hexadecimal digits."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def find_key(keys: Iterable[ApiKey], given: str) -> ApiKey | None:
    """The key that `given` is. Takes as long for a wrong one as for a right one."""
    if len(given) > MAX_KEY:
        return None
    digest, found = hash_key(given), None
    for key in keys:
        if compare_digest(key.sha256, digest):
            found = key
    return found
