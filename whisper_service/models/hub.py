"""Models of the Hugging Face Hub that an operator has listed, through its own library.

Mirrors (HF_ENDPOINT), the cache (HF_HOME), tokens and being offline (HF_HUB_OFFLINE) are that
library's business. It has no limit on how long a download may stand still, so it runs as a process
that is watched: `python -m whisper_service.models.hub REPOSITORY REVISION`.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from whisper_service.models import names
from whisper_service.models.progress import Progress
from whisper_service.models.watched import run_watched
from whisper_service.models.weight_files import (
    CONFIG,
    CTRANSLATE2,
    GENERATION_CONFIG,
    SAFETENSORS,
    SAFETENSORS_INDEX,
    FetchError,
    Weights,
    is_model_folder,
)

_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_REVISION = "main"


class Hub:
    """The repositories `OWNER/NAME` or `OWNER/NAME@REVISION` of a list."""

    title = "the Hugging Face Hub"

    def __init__(self, repositories: Iterable[str], *, timeout: float) -> None:
        self._revisions = dict(_split(repository) for repository in repositories)
        self._timeout = timeout

    def names(self) -> list[str]:
        """Listed repositories that are not conversions of an official model: those go by its
        name."""
        return [name for name in self._revisions if names.official_name(name) is None]

    def find(self, name: str) -> Weights | None:
        """What the library's cache holds of it, whole."""
        repository = self._repository(name)
        if repository is None:
            return None
        from huggingface_hub import try_to_load_from_cache

        config = try_to_load_from_cache(repository, CONFIG, revision=self._revisions[repository])
        if not isinstance(config, str) or not is_model_folder(Path(config).parent):
            return None
        return Weights(Path(config).parent, is_vouched_for=True)

    def can_fetch(self, name: str) -> bool:
        """Whether an operator has listed it."""
        return self._repository(name) is not None

    def fetch(self, name: str, progress: Progress) -> Weights:
        """Bring a snapshot into the library's cache. Raises `FetchError`."""
        repository = self._repository(name)
        assert repository is not None  # `can_fetch` was asked
        printed = run_watched(
            [sys.executable, "-m", __name__, repository, self._revisions[repository]],
            self.cache_folder(repository),
            timeout=self._timeout,
            total=None,
            progress=progress,
            environment={"HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        )
        return Weights(Path(printed.splitlines()[-1]), is_vouched_for=True)

    def cache_folder(self, repository: str) -> Path:
        """Where the library keeps a repository."""
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"

    def _repository(self, name: str) -> str | None:
        """The listed repository that a name means; official models go by their own name."""
        if name in self._revisions:
            return name
        official = (r for r in self._revisions if names.official_name(r) == name)
        return next(official, None)


def wanted_files(files: Iterable[str], repository: str) -> list[str]:
    """Which files of a repository make a model, tensors that cannot run code among them.

    Raises `FetchError` where there are none: a pickled `pytorch_model.bin` is not loaded.
    """
    there = set(files)
    configs = [name for name in (CONFIG, GENERATION_CONFIG) if name in there]
    if CONFIG in there:
        if SAFETENSORS in there:
            return [*configs, SAFETENSORS]
        if SAFETENSORS_INDEX in there:
            return [*configs, SAFETENSORS_INDEX, *sorted(filter(_SHARD.fullmatch, there))]
        if CTRANSLATE2 in there:
            return [*configs, CTRANSLATE2]
    raise FetchError(
        f"{repository} holds no Whisper that is loaded here: `{CONFIG}` with `{SAFETENSORS}`, or"
        f" with CTranslate2's `{CTRANSLATE2}`"
    )


def _split(repository: str) -> tuple[str, str]:
    name, _, revision = repository.partition("@")
    return name, revision or _REVISION


def _main(repository: str, revision: str) -> int:
    """Download, and print where it lies; or print why not, and return 1."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        files = HfApi().list_repo_files(repository, revision=revision)
        wanted = wanted_files(files, repository)
        print(snapshot_download(repository, revision=revision, allow_patterns=wanted))  # noqa: T201
    except Exception as error:  # noqa: BLE001 - a program's shell; the library raises many kinds
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
