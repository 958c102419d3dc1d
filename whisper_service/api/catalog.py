"""What can be asked for: GET /models, GET /languages, and the check of a request's model."""

from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import Field

from whisper_service.api.decoder import Decoder
from whisper_service.api.schemas.base import Output
from whisper_service.errors import (
    InvalidParameter,
    ModelUnavailable,
    UnknownLanguage,
    UnknownModel,
)
from whisper_service.languages import LANGUAGES
from whisper_service.models.names import (
    DEFAULT_MODEL_NAMES,
    DEMO,
    DEMO_NOTE,
    canonical_name,
    resolve_name,
)
from whisper_service.settings import Settings
from whisper_service.types import DecodeOptions, ModelStatus

_TRUSTED_FOR = 60.0
"""Seconds an older list is believed where it says yes. A request then need not wait for a new one
(7 ms), and a model that is gone by now is refused by whoever is to decode with it."""


_RETRY_AFTER = 30.0
"""Seconds after which the default model may have been had."""


class ModelBody(Output):
    """A model that can be asked for."""

    name: str = Field(description="What to give as `model_size`.", examples=["base"])
    is_multilingual: bool = Field(
        description="Whether it knows more than English.", examples=[True]
    )
    parameters: str | None = Field(description="Its size, for people.", examples=["74 M"])
    n_parameters: int | None = Field(description="Its size, exactly.", examples=[74_000_000])
    memory_bytes: int | None = Field(
        description="Memory it takes on its device.", examples=[1_000_000_000]
    )
    has_weights: bool = Field(
        description="Its weights are there; the first request need not wait for a download.",
        examples=[True],
    )
    is_loaded: bool = Field(description="It is loaded now.", examples=[True])
    can_download: bool = Field(
        description="Its weights are downloaded when it is asked for.", examples=[True]
    )
    path: str = Field(
        description="Where its weights are, or have to be put.",
        examples=["/models/base.pt"],
    )
    note: str | None = Field(None, description="What to know before it is used.", examples=[None])


class ModelsBody(Output):
    """The answer of /models."""

    default: str = Field(description="The model of a request that names none.", examples=["base"])
    notice: str | None = Field(
        None,
        description="Set where the default model could be had from no source and another answers in"
        " its place: which, and why.",
        examples=[None],
    )
    models: list[ModelBody] = Field(
        description="Every model that can be asked for, first those that answer now."
    )


class LanguageBody(Output):
    """A language."""

    code: str = Field(description="What answers carry.", examples=["de"])
    name: str = Field(description="Its English name.", examples=["german"])


class LanguagesBody(Output):
    """The answer of /languages."""

    languages: list[LanguageBody] = Field(description="Every language Whisper knows.")


def catalog_router(settings: Settings, decoder: Decoder) -> APIRouter:
    """The routes that list what there is."""
    router = APIRouter(tags=["what there is"])

    @router.get("/models", summary="List the models")
    async def models() -> ModelsBody:
        """Every model that can be given as `model_size`, with what it needs, and whether its
        weights are there."""
        statuses = await decoder.models()
        return ModelsBody(
            default=await resolve_model(decoder, settings, None),
            notice=stand_in_notice(statuses),
            models=[_model_body(status) for status in statuses],
        )

    @router.get("/languages", summary="List the languages")
    async def languages() -> LanguagesBody:
        """Every language Whisper knows. A request may also give a tag, another code or another
        name of it: `pt-BR`, `deu`, `Deutsch`."""
        return LanguagesBody(
            languages=[LanguageBody(code=code, name=name) for code, name in LANGUAGES.items()]
        )

    return router


async def resolve_model(decoder: Decoder, settings: Settings, name: str | None) -> str:
    """The model that a request means by `name`, in whatever words its client has for it.

    A name that means nothing comes back as it is, for `check_model` to refuse.
    """
    statuses = await decoder.models(max_age=_TRUSTED_FOR)
    if _stand_in(statuses):  # perhaps no longer
        statuses = await decoder.models()
    stand_in = _stand_in(statuses)
    default = stand_in.name if stand_in else settings.default_model
    served = frozenset(status.name for status in statuses)
    return resolve_name(name, default, served, settings.model_aliases)


async def check_model(decoder: Decoder, name: str, options: DecodeOptions | None = None) -> None:
    """Refuse a model that cannot do what is asked before any audio is looked at.

    Raises `UnknownModel`, `ModelUnavailable`, `UnknownLanguage` or `InvalidParameter`.
    """
    statuses = await decoder.models(max_age=_TRUSTED_FOR)
    status = _known(statuses, name)
    if status is None or not status.is_usable:  # perhaps by now
        statuses = await decoder.models()
        status = _known(statuses, name)
    if status is None:
        raise unknown_model(name, statuses)
    _check_available(status, _stand_in(statuses))
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


def usable_names(statuses: Sequence[ModelStatus]) -> list[str]:
    """What can be given as a model, first what OpenAI's clients call the default."""
    return [DEFAULT_MODEL_NAMES[0], *(status.name for status in statuses if status.is_usable)]


def unknown_model(name: str, statuses: Sequence[ModelStatus]) -> UnknownModel:
    """The error for a name that means nothing here, with those that do."""
    allowed = usable_names(statuses)
    return UnknownModel(
        f"There is no model {name[:100]!r}; allowed are {', '.join(allowed)}.",
        param="model_size",
        got=name[:100],
        allowed=allowed,
    )


def stand_in_notice(statuses: Sequence[ModelStatus]) -> str | None:
    """What people have to know before they read a transcript; None where the default model
    answers."""
    stand_in = _stand_in(statuses)
    if stand_in is None:
        return None
    return (
        f"`{stand_in.name}` answers in place of `{stand_in.stands_in_for}`. {DEMO_NOTE}"
        f" {stand_in.reason}"
    )


def _stand_in(statuses: Sequence[ModelStatus]) -> ModelStatus | None:
    return next((status for status in statuses if status.stands_in_for), None)


def _known(statuses: Sequence[ModelStatus], name: str) -> ModelStatus | None:
    return next((status for status in statuses if status.name == name), None)


def _check_available(status: ModelStatus, stand_in: ModelStatus | None) -> None:
    if stand_in and stand_in.stands_in_for == canonical_name(status.name):
        # WhisperASR asks for it again by itself; a request need not wait for sources in vain.
        assert stand_in.reason is not None
        raise ModelUnavailable(stand_in.reason, retry_after=_RETRY_AFTER, model=status.name)
    if not status.is_usable:
        raise ModelUnavailable(
            f"The weights of the model `{status.name}` are not here and may not be downloaded."
            f" Put them at {status.path}.",
            model=status.name,
            path=status.path,
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
        note=DEMO_NOTE if status.name == DEMO else None,
    )


def in_words(count: int) -> str:
    """74_000_000 as "74 M", the way models are talked about."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
