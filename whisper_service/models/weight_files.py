"""Where the weights of one model lie, and whether they have been seen to be what they should be."""

import json
from dataclasses import dataclass
from pathlib import Path

TORCH_SUFFIX = ".pt"
CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
CTRANSLATE2 = "model.bin"
SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Weights:
    """A file in openai-whisper's format, or a folder in Hugging Face's or CTranslate2's."""

    path: Path
    is_vouched_for: bool = False
    """Whether an operator has named where they come from: then an official name on them needs no
    proof that they are OpenAI's."""


class FetchError(Exception):
    """Weights could not be brought, for a reason that makes the end of a sentence."""


def is_model_folder(path: Path) -> bool:
    """Whether a folder holds all that a model is loaded from: a config, and tensors in a format
    that cannot run code."""
    if not (path / CONFIG).is_file():
        return False
    if any((path / name).is_file() for name in (SAFETENSORS, CTRANSLATE2)):
        return True
    return bool(shards := shard_names(path)) and all((path / name).is_file() for name in shards)


def shard_names(path: Path) -> list[str]:
    """The files of a checkpoint in several, from its index; none where there is no index.

    A name that would lead out of the folder is not taken.
    """
    try:
        index = json.loads((path / SAFETENSORS_INDEX).read_text(encoding="utf-8"))
        shards = sorted(set(index["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return shards if all(name == Path(str(name)).name for name in shards) else []


def read_config(path: Path) -> dict[str, object]:
    """The config of a model folder; empty where it cannot be read."""
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
