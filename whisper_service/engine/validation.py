"""What a job must not ask for: the reasons why one is answered with an error, not decoded."""

from typing import Protocol

import numpy as np

from whisper_service.engine.sequence_group import width
from whisper_service.errors import InvalidAudio, InvalidParameter, ServiceError, UnknownLanguage
from whisper_service.types import TASKS, WINDOW_SAMPLES, WINDOW_SECONDS, Audio, DecodeJob


class ModelInfo(Protocol):
    """What a model knows."""

    name: str
    is_multilingual: bool

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of its languages."""


def audio_error(audio: Audio) -> InvalidAudio | None:
    """Refuse what is no window."""
    if audio.ndim != 1 or audio.dtype != np.float32 or not 0 < len(audio) <= WINDOW_SAMPLES:
        return InvalidAudio(
            f"A window is mono float32 of up to {WINDOW_SECONDS} s at 16 kHz, and not empty;"
            f" got {audio.dtype} of shape {list(audio.shape)}."
        )
    if not np.isfinite(audio).all():
        return InvalidAudio("The audio holds samples that are not finite numbers.")
    return None


def options_error(job: DecodeJob, model: ModelInfo, *, max_width: int) -> ServiceError | None:
    """Refuse what the model cannot do, and what is out of range."""
    options = job.options
    if options.task not in TASKS:
        return _bad("task", options.task, ", ".join(TASKS))
    if options.task == "translate" and not model.is_multilingual:
        allowed = f"transcribe; {model.name} knows only English and cannot translate"
        return _bad("task", options.task, allowed)
    for param in ("beam_size", "best_of", "max_tokens"):
        value = getattr(options, param)
        if value is not None and value < 1:
            return _bad(param, value, "1 and more, or none")
    if not options.temperatures or min(options.temperatures) < 0:
        return _bad("temperature", options.temperatures, "one or more numbers from 0 on")
    if options.patience is not None and options.patience <= 0:
        return _bad("patience", options.patience, "more than 0")
    if options.length_penalty is not None and not 0 <= options.length_penalty <= 1:
        return _bad("length_penalty", options.length_penalty, "0 to 1")
    if width(options) > max_width:
        return _bad("beam_size or best_of", width(options), f"up to {max_width} here")
    return _bad_language(options.language, model)


def _bad_language(language: str | None, model: ModelInfo) -> UnknownLanguage | None:
    if language is None or language in model.languages:
        return None
    return UnknownLanguage(
        f"Model {model.name!r} does not know the language {language!r}."
        f" Languages: {', '.join(model.languages)}.",
        param="language",
        got=language,
        allowed=list(model.languages),
    )


def _bad(param: str, got: object, allowed: str) -> InvalidParameter:
    return InvalidParameter(
        f"{param} cannot be {got!r}. Allowed: {allowed}.",
        param=param,
        got=got,
        allowed=allowed,
    )
