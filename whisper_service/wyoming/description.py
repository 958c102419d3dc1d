"""What the bridge answers to `describe`: the service's models and languages as Wyoming's `info`."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from wyoming.info import AsrModel, AsrProgram, Attribution, Info

from whisper_service import __version__
from whisper_service.client.failure import ClientFailure, ExitCode, Refused, unreachable
from whisper_service.client.key import authorization

_TIMEOUT = 5.0
"""Seconds. Home Assistant waits one, and asks again."""
_AUTHOR = Attribution("OpenAI", "https://github.com/openai/whisper")

Fields = Mapping[str, Any]


async def describe(url: str, key: str | None, first: str | None) -> Info:
    """Ask the service at `url` what it has. `first`: the model that is used if none is named.

    Raises `ClientFailure`.
    """
    async with httpx.AsyncClient(
        base_url=url, timeout=_TIMEOUT, headers=authorization(key)
    ) as client:
        models, languages = await _get(client, "/models"), await _get(client, "/languages")
    codes = [language["code"] for language in languages["languages"]]
    return info_of(models["models"], codes, first or models["default"])


def info_of(models: Sequence[Fields], codes: Sequence[str], first: str) -> Info:
    """The models that can be asked for, `first` before the others."""
    usable = [model for model in models if model["has_weights"] or model["can_download"]]
    usable.sort(key=lambda model: model["name"] != first)
    program = AsrProgram(
        name="whisper-streaming",
        attribution=_AUTHOR,
        installed=True,
        description="Whisper Streaming",
        version=__version__,
        models=[_model_of(model, codes) for model in usable],
        supports_transcript_streaming=True,
    )
    return Info(asr=[program])


def _model_of(model: Fields, codes: Sequence[str]) -> AsrModel:
    size = model["parameters"]
    return AsrModel(
        name=model["name"],
        attribution=_AUTHOR,
        installed=model["has_weights"],
        description=model["note"] or (f"Whisper, {size} parameters" if size else "Whisper"),
        version=None,
        languages=list(codes) if model["is_multilingual"] else ["en"],
    )


async def _get(client: httpx.AsyncClient, path: str) -> Fields:
    try:
        answer = await client.get(path)
        fields: Fields = answer.json()
        if answer.is_success:
            return fields
        raise Refused(fields["error"])
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise unreachable(str(client.base_url), error) from None
    except (ValueError, KeyError, TypeError):
        raise ClientFailure(
            f"{client.base_url} answered {answer.status_code} without the service's JSON; is this"
            " the right address?",
            ExitCode.REFUSED,
        ) from None
