"""Deepgram's live protocol, spoken over the same plans as /stream."""

from whisper_service.api.access.credentials import Subprotocol
from whisper_service.api.fronts.deepgram.errors import error_answer
from whisper_service.api.fronts.deepgram.live import deepgram_router
from whisper_service.api.fronts.front import Front

FRONT = Front(
    paths={"/v1/listen": "stream"},
    routers=lambda replica: [deepgram_router(replica.streams)],
    shape=error_answer,
    subprotocol=Subprotocol("token"),
)
