"""OpenAI's audio API, spoken over the same plans as the service's own routes."""

from fastapi import APIRouter

from whisper_service.api.fronts.front import Front, Replica
from whisper_service.api.fronts.openai.errors import error_answer
from whisper_service.api.fronts.openai.files import openai_files_router
from whisper_service.api.fronts.openai.models import openai_models_router
from whisper_service.api.fronts.openai.realtime_route import SUBPROTOCOL, realtime_router
from whisper_service.api.fronts.openai.secrets import ClientSecrets, client_secrets_router


def _routers(replica: Replica) -> list[APIRouter]:
    settings, decoder = replica.settings, replica.decoder
    secrets = ClientSecrets(replica.secret)
    return [
        openai_files_router(settings, decoder, replica.transcriber),
        openai_models_router(settings, decoder),
        client_secrets_router(settings, decoder, secrets),
        realtime_router(replica.streams, secrets),
    ]


FRONT = Front(
    paths={
        "/v1": None,
        "/v1/audio/transcriptions": "transcribe",
        "/v1/audio/translations": "transcribe",
        "/v1/realtime": "stream",
    },
    routers=_routers,
    shape=error_answer,
    subprotocol=SUBPROTOCOL,
    tags={"OpenAI": "The same for OpenAI's clients: base URL `http://HOST/v1`."},
)
