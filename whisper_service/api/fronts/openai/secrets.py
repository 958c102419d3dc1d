"""POST /v1/realtime/client_secrets: short-lived tokens for browsers, with a session inside."""

import secrets
import time
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from whisper_service.api.access.tokens import PREFIX, Grant, Tokens
from whisper_service.api.catalog import check_model, resolve_model
from whisper_service.api.decoder import Decoder
from whisper_service.api.fronts.openai.schemas import OTHER_ERRORS
from whisper_service.api.fronts.openai.transcription_session import TranscriptionSession
from whisper_service.api.http.request import facts_of
from whisper_service.api.schemas.base import Input, Output
from whisper_service.errors import InvalidRequest, Unauthorized
from whisper_service.settings import Settings

__all__ = ["PREFIX", "ClientSecrets", "InvalidSecret", "client_secrets_router"]


class InvalidSecret(InvalidRequest):
    """A client secret that opens nothing."""

    code, http_status = "invalid_client_secret", 401


class ExpiresAfter(Input):
    """How long a secret lives."""

    anchor: Literal["created_at"] = Field("created_at", description="From when it is counted.")
    seconds: int = Field(600, description="Its life in seconds.", examples=[600], ge=10, le=7200)


class ClientSecretRequest(Input):
    """What to make a secret for."""

    expires_after: ExpiresAfter = Field(ExpiresAfter(), description="How long it lives.")
    session: dict[str, Any] = Field(
        default_factory=dict,
        description="The session it opens, as `session.update` takes it.",
        examples=[{"type": "transcription"}],
    )


class ClientSecretBody(Output):
    """A secret, to be given to a browser."""

    value: str = Field(description="The secret.", examples=["ek_eyJ..."])
    expires_at: int = Field(description="When it ends, in Unix seconds.", examples=[1_800_000_000])
    session: dict[str, Any] = Field(description="The session it opens.")


class ClientSecrets:
    """Makes and reads secrets: tokens that hold a session. Every replica needs the same key."""

    def __init__(self, key: str) -> None:
        self._tokens = Tokens(key)

    def make(
        self, session: TranscriptionSession, expires_at: int, grant: Grant | None = None
    ) -> str:
        """A secret that opens `session` until `expires_at`, for whom `grant` was for; no files."""
        fields = session.model_dump()
        return self._tokens.make(expires_at, grant, scopes=("stream",), session=fields)

    def read(self, secret: str, now: float) -> TranscriptionSession:
        """The session of a secret; raises `InvalidSecret`."""
        try:
            return TranscriptionSession().updated(self._tokens.read(secret, now).session)
        except Unauthorized:
            raise InvalidSecret(
                "The client secret was not made by this service, or is too old."
            ) from None


def client_secrets_router(settings: Settings, decoder: Decoder, keys: ClientSecrets) -> APIRouter:
    """The route that makes secrets."""
    router = APIRouter(prefix="/v1/realtime", tags=["OpenAI"])

    @router.post(
        "/client_secrets",
        summary="Make a short-lived key for a browser, as OpenAI's API does",
        responses=OTHER_ERRORS,
    )
    async def client_secrets(request: ClientSecretRequest, http: Request) -> ClientSecretBody:
        """The key opens a Realtime transcription session with the configuration given here."""
        grant = facts_of(http.scope).grant
        if grant is not None:
            grant.check_can_make_tokens()
        session = TranscriptionSession().updated(request.session)
        config = session.stream_config(await resolve_model(decoder, settings, session.model))
        await check_model(decoder, config.model_size, config.decode)
        expires_at = int(time.time()) + request.expires_after.seconds
        shown = session.shown(f"sess_{secrets.token_hex(10)}", is_flat=False)
        value = keys.make(session, expires_at, grant)
        return ClientSecretBody(value=value, expires_at=expires_at, session=shown)

    return router
