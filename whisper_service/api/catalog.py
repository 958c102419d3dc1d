"""What can be asked for: GET /models, GET /languages, and the check of a request's model."""

from collections.abc import Sequence

from fastapi import APIRouter

from whisper_service.api.decoder import Decoder
from whisper_service.api.schemas import LanguageBody, LanguagesBody, ModelBody, ModelsBody
from whisper_service.errors import (
    InvalidParameter,
    ModelUnavailable,
    UnknownLanguage,
    UnknownModel,
)
from whisper_service.languages import LANGUAGES
from whisper_service.settings import Settings
from whisper_service.types import DecodeOptions, ModelStatus

_TRUSTED_FOR = 60.0
"""Seconds an older list is believed where it says yes. A request then need not wait for a new one
(7 ms), and a model that is gone by now is refused by whoever is to decode with it."""


def catalog_router(settings: Settings, decoder: Decoder) -> APIRouter:
    """The routes that list what there is."""
    router = APIRouter(tags=["what there is"])

    @router.get("/models", summary="List the models")
    async def models() -> ModelsBody:
        """Every model that can be given as `model_size`, with what it needs, and whether its
        weights are there."""
        bodies = [_model_body(status) for status in await decoder.models()]
        return ModelsBody(default=settings.default_model, models=bodies)

    @router.get("/languages", summary="List the languages")
    async def languages() -> LanguagesBody:
        """Every language Whisper knows; a request may give the code or the name."""
        return LanguagesBody(
            languages=[LanguageBody(code=code, name=name) for code, name in LANGUAGES.items()]
        )

    return router


async def check_model(decoder: Decoder, name: str, options: DecodeOptions | None = None) -> None:
    """Refuse a model that cannot do what is asked before any audio is looked at.

    Raises `UnknownModel`, `ModelUnavailable`, `UnknownLanguage` or `InvalidParameter`.
    """
    status = _known(await decoder.models(max_age=_TRUSTED_FOR), name)
    if status is None or not _can_be_had(status):  # perhaps by now
        status = _find(await decoder.models(), name)
    if not _can_be_had(status):
        raise ModelUnavailable(
            f"The weights of the model `{name}` are not here and may not be downloaded."
            f" Put them at {status.path}.",
            model=name,
            path=status.path,
        )
    if options is None or status.is_multilingual:
        return
    if options.language not in (None, "en"):
        raise UnknownLanguage(
            f"`language` is {options.language!r}, and the model `{name}` knows English only.",
            param="language",
            got=options.language,
            allowed=["en"],
        )
    if options.task == "translate":
        raise InvalidParameter(
            f"`task` is 'translate', and the model `{name}` knows English only.",
            param="task",
            got="translate",
            allowed=["transcribe"],
        )


def _can_be_had(status: ModelStatus) -> bool:
    return status.has_weights or status.can_download


def _known(models: Sequence[ModelStatus], name: str) -> ModelStatus | None:
    return next((status for status in models if status.name == name), None)


def _find(models: Sequence[ModelStatus], name: str) -> ModelStatus:
    if (status := _known(models, name)) is not None:
        return status
    names = [status.name for status in models]
    raise UnknownModel(
        f"There is no model {name[:100]!r}; allowed are {', '.join(names)}.",
        param="model_size",
        got=name[:100],
        allowed=names,
    )


def _model_body(status: ModelStatus) -> ModelBody:
    return ModelBody(
        name=status.name,
        is_multilingual=status.is_multilingual,
        parameters=None if status.n_parameters is None else in_words(status.n_parameters),
        n_parameters=status.n_parameters,
        memory_bytes=status.memory_bytes,
        has_weights=status.has_weights,
        is_loaded=status.is_loaded,
        can_download=status.can_download,
        path=status.path,
    )


def in_words(count: int) -> str:
    """74_000_000 as "74 M", the way models are talked about."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
