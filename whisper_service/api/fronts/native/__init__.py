"""The service's own protocol: /transcribe, /detect-language, /stream."""

from fastapi import APIRouter

from whisper_service.api.access.credentials import Subprotocol
from whisper_service.api.fronts.front import Front, Replica
from whisper_service.api.fronts.native.files import files_router
from whisper_service.api.fronts.native.guide import GUIDE
from whisper_service.api.fronts.native.resume import ResumeTokens
from whisper_service.api.fronts.native.stream_route import stream_router


def _routers(replica: Replica) -> list[APIRouter]:
    settings = replica.settings
    return [
        files_router(settings, replica.decoder, replica.transcriber),
        stream_router(replica.streams, ResumeTokens(replica.secret)),
    ]


FRONT = Front(
    paths={"/transcribe": "transcribe", "/detect-language": "transcribe", "/stream": "stream"},
    routers=_routers,
    subprotocol=Subprotocol("whisper-streaming", key_prefix="bearer."),
    tags={"files": "Speech in a file to text."},
    guide=GUIDE,
)
