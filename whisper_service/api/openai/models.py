"""GET /v1/models and /v1/models/{id}."""

from fastapi import APIRouter

from whisper_service.api.decoder import Decoder
from whisper_service.api.docs import errors
from whisper_service.api.openai.errors import error_answer
from whisper_service.api.openai.forms import DEFAULT_MODEL_ALIAS
from whisper_service.api.openai.schemas import (
    OTHER_ERRORS,
    OpenAIErrorBody,
    OpenAIModelBody,
    OpenAIModelsBody,
)
from whisper_service.errors import UnknownModel

PUBLISHED = 1_663_718_400
"""21 September 2022, Whisper's first release; a checkpoint carries no date of its own."""
_NOT_FOUND = UnknownModel("There is no model 'huge'; allowed are base, small.", param="model_size")


def openai_models_router(decoder: Decoder) -> APIRouter:
    """The routes that list models as OpenAI's API does."""
    router = APIRouter(prefix="/v1/models", tags=["OpenAI"])

    async def usable() -> list[str]:
        known = await decoder.models()
        names = [model.name for model in known if model.has_weights or model.can_download]
        return [DEFAULT_MODEL_ALIAS, *names]

    @router.get("", summary="List the models, as OpenAI's API does")
    async def models() -> OpenAIModelsBody:
        """Every model that can be used now; `whisper-1` is the service's default model."""
        return OpenAIModelsBody(data=[_body(name) for name in await usable()])

    @router.get(
        "/{model:path}",
        summary="Look up a model, as OpenAI's API does",
        responses=errors(_NOT_FOUND, shape=error_answer, model=OpenAIErrorBody) | OTHER_ERRORS,
    )
    async def model(model: str) -> OpenAIModelBody:
        """One model of the list, by its id."""
        names = await usable()
        if model not in names:
            shown = f"There is no model {model[:100]!r}; allowed are {', '.join(names)}."
            raise UnknownModel(shown, param="model_size", got=model[:100], allowed=names)
        return _body(model)

    return router


def _body(name: str) -> OpenAIModelBody:
    return OpenAIModelBody(id=name, created=PUBLISHED, owned_by="whisper-streaming")
