"""Short-lived tokens: a key's rights for some minutes, to be given to a browser.

A token dies with its key: it names the key, and carries a fingerprint of it that only the signer
can make.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request, Response
from itsdangerous import BadSignature
from pydantic import Field

from whisper_service.api.access.signing import Signing
from whisper_service.api.http.request import facts_of
from whisper_service.api.http.responses import errors
from whisper_service.api.schemas.base import Input, Output
from whisper_service.errors import (
    Forbidden,
    InvalidParameter,
    InvalidRequest,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    TimedOut,
    Unauthorized,
)
from whisper_service.keys.key import SCOPES, ApiKey, Scope

PREFIX = "ek_"
"""Of OpenAI's ephemeral keys; tokens of both routes are the same thing."""
DEFAULT_SECONDS = 600
MIN_SECONDS = 10
MAX_SECONDS = 7200
"""Of a token's life: it is for one sitting in a browser."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller was let in with. Without keys there is none."""

    key: ApiKey
    scopes: tuple[Scope, ...]
    is_token: bool

    def check_can_make_tokens(self) -> None:
        """Raise `Forbidden` for a token: else it could be renewed for ever."""
        if self.is_token:
            raise Forbidden("A token makes no further tokens; use an API key.")


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says."""

    key_name: str | None = None
    fingerprint: str = ""
    scopes: tuple[Scope, ...] = SCOPES
    session: dict[str, Any] = field(default_factory=dict)
    """What the Realtime session it opens begins with."""


class Tokens:
    """Makes and reads tokens. Every replica needs the same secret."""

    def __init__(self, secret: str) -> None:
        self._signing = Signing(secret, "token")

    def make(
        self,
        expires_at: int,
        grant: Grant | None,
        *,
        scopes: Sequence[Scope] | None = None,
        session: dict[str, Any] | None = None,
    ) -> str:
        """A token with the rights of `grant`, or fewer; without one it opens what is open."""
        fields: dict[str, Any] = {"session": session or {}}
        if grant is not None:
            fields |= {
                "key_name": grant.key.name,
                "fingerprint": self.fingerprint(grant.key),
                "scopes": list(scopes or grant.scopes),
            }
        return PREFIX + self._signing.sign(fields, expires_at)

    def read(self, text: str, now: float) -> Token:
        """What a token says; raises `Unauthorized`."""
        try:
            fields = self._signing.read(text.removeprefix(PREFIX), now)
            return Token(**{**fields, "scopes": tuple(fields.get("scopes", SCOPES))})
        except (BadSignature, TypeError):  # of type: with the fields of another version
            raise Unauthorized("The token was not made by this service, or is too old.") from None

    def fingerprint(self, key: ApiKey) -> str:
        """Binds a token to one key."""
        return self._signing.fingerprint(key.sha256)


class TokenRequest(Input):
    """What to make a token for."""

    expires_in: int = Field(
        DEFAULT_SECONDS,
        description="Its life in seconds, 10 to 7200.",
        examples=[DEFAULT_SECONDS],
    )
    scopes: list[Scope] | None = Field(
        None,
        description="What it opens, at the most what the key opens; left out, just that.",
        examples=[["stream"]],
        min_length=1,
        max_length=len(SCOPES),
    )


class TokenBody(Output):
    """A token, to be given to a browser."""

    token: str = Field(
        description="The token, in the place of a key.", examples=["ek_eyJleHBpcmVzX2F0Ijo..."]
    )
    expires_at: int = Field(description="When it ends, in Unix seconds.", examples=[1_800_000_000])


TOKEN_ERRORS = (
    InvalidRequest("The body is not UTF-8."),
    PayloadTooLarge("The request body is larger than 1,048,576 bytes.", max_bytes=2**20),
    TimedOut("The upload was not done after 3600 s, all the time one may take.", limit=3600),
    Overloaded("64 uploads are going on, which is the limit.", retry_after=2, limit=64),
    Unauthorized("There is no API key. Send `Authorization: Bearer KEY`."),
    Forbidden("A token makes no further tokens; use an API key."),
    InvalidParameter(
        "`expires_in` is 5; allowed is 10 to 7200.", param="expires_in", got=5, allowed="10 to 7200"
    ),
    RateLimited("The API key has used its 60 requests a minute.", retry_after=1, limit=60),
)


def tokens_router(tokens: Tokens) -> APIRouter:
    """The route that makes tokens."""
    router = APIRouter(tags=["access"])

    @router.post(
        "/tokens",
        summary="Make a short-lived token for a browser",
        responses=errors(*TOKEN_ERRORS),
    )
    async def make_token(
        request: Request, response: Response, wanted: TokenRequest | None = None
    ) -> TokenBody:
        """A token stands where a key does, for a while, and has no more rights than its key.

        It is looked at when a request or a socket begins: a stream outlives its token.
        """
        wanted = wanted or TokenRequest()
        grant = facts_of(request.scope).grant
        _check(wanted, grant)
        response.headers["Cache-Control"] = "no-store"
        expires_at = int(time.time()) + wanted.expires_in
        return TokenBody(
            token=tokens.make(expires_at, grant, scopes=wanted.scopes), expires_at=expires_at
        )

    return router


def _check(wanted: TokenRequest, grant: Grant | None) -> None:
    if not MIN_SECONDS <= wanted.expires_in <= MAX_SECONDS:
        allowed = f"{MIN_SECONDS} to {MAX_SECONDS}"
        got = max(-(2**53), min(2**53, wanted.expires_in))
        raise InvalidParameter(
            f"`expires_in` is {got}; allowed is {allowed}.",
            param="expires_in",
            got=got,
            allowed=allowed,
        )
    if grant is None:
        return
    grant.check_can_make_tokens()
    for scope in wanted.scopes or ():
        if scope not in grant.scopes:
            raise Forbidden(
                f"The key does not open `{scope}`; it opens {', '.join(grant.scopes)}.",
                param="scopes",
                got=scope,
                allowed=list(grant.scopes),
            )
