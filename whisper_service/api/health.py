"""Liveness and readiness. Alive is cheap and says nothing of models; ready means it decodes."""

from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from whisper_service.api.decoder import Decoder
from whisper_service.api.http.responses import errors
from whisper_service.api.schemas.base import Output
from whisper_service.errors import Restarting, Unavailable


class StatusBody(Output):
    """The answer of the health checks."""

    status: Literal["ok", "ready"] = Field(
        description="`ok`: the process answers. `ready`: a model is loaded and decodes.",
        examples=["ok"],
    )


def health_router(decoder: Decoder, draining: Callable[[], bool]) -> APIRouter:
    """The routes that probes and load balancers call."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="Is the process alive?")
    async def healthz() -> StatusBody:
        """Answers as long as the event loop turns."""
        return StatusBody(status="ok")

    @router.get(
        "/readyz",
        summary="Can it transcribe?",
        responses=errors(Unavailable("No model is loaded yet.", retry_after=2)),
    )
    async def readyz() -> StatusBody:
        """Decodes something with a loaded model before it answers."""
        if draining():
            raise Restarting("This replica is going away.", retry_after=1)
        await decoder.check()
        return StatusBody(status="ready")

    return router
