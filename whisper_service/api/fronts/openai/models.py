"""GET /v1/models and /v1/models/{id}."""

from fastapi import APIRouter

from whisper_service.api.catalog import resolve_model, unknown_model, usable_names
from whisper_service.api.decoder import Decoder
from whisper_service.api.fronts.openai.errors import error_answer
from whisper_service.api.fronts.openai.schemas import (
    OTHER_ERRORS,
    OpenAIErrorBody,
    OpenAIModelBody,
    OpenAIModelsBody,
)
from whisper_service.api.http.responses import errors
from whisper_service.errors import UnknownModel
from whisper_service.settings import Settings

PUBLISHED = 1_663_718_400
"""21 September 2022, Whisper's first release; a checkpoint carries no date of its own."""
_NOT_FOUND = UnknownModel(
    "There is no model 'huge'; allowed are whisper-1, base, small.", param="model_size"
)


def openai_models_router(settings: Settings, decoder: Decoder) -> APIRouter:
    """The routes that list models as OpenAI's API does."""
    router = APIRouter(prefix="/v1/models", tags=["OpenAI"])

    @router.get("", summary="List the models, as OpenAI's API does")
    async def models() -> OpenAIModelsBody:
        """Every model that can be used, first those that answer now; `whisper-1` is the service's
        default model."""
        return OpenAIModelsBody(data=[_body(name) for name in usable_names(await decoder.models())])

    @router.get(
        "/{model:path}",
        summary="Look up a model, as OpenAI's API does",
        responses=errors(_NOT_FOUND, shape=error_answer, model=OpenAIErrorBody) | OTHER_ERRORS,
    )
    async def model(model: str) -> OpenAIModelBody:
        """One model, by its id or another name for it."""
        statuses = await decoder.models()
        if await resolve_model(decoder, settings, model) not in usable_names(statuses):
            raise unknown_model(model, statuses)
        return _body(model)

    return router


def _body(name: str) -> OpenAIModelBody:
    return OpenAIModelBody(id=name, created=PUBLISHED, owned_by="whisper-streaming")
