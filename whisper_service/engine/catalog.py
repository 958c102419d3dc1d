"""Which models can be asked for, where their weights lie and what they take. Imports no torch.

Owns names: an official model of openai-whisper, the bundled `demo`, or any NAME.pt in the model
folder. Refuses to know how weights are loaded (model.py). A name comes from a user, so it never
becomes a path before it has passed `_SAFE_NAME`.
"""

import re
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from whisper_service.errors import ModelUnavailable, UnknownModel
from whisper_service.types import ModelStatus

ASSETS_DIR = Path(__file__).resolve().parents[1] / "assets"
"""Package data: the bundled checkpoint."""
DEMO = "demo"
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""No separators and no leading dot: such a name cannot leave the folder."""
_ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}
"""As in openai-whisper; resolved first, so that no model is loaded twice under two names."""
_BATCH = 8
"""Windows that `memory_bytes` leaves room for: the default of the setting `max_batch_size`."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """The sizes of one official model (Table 1 of the Whisper paper, arXiv:2212.04356)."""

    n_state: int
    n_layers: int
    n_text_layers: int
    n_vocab: int
    n_mels: int = 80
    n_text_ctx: int = 448
    n_audio_ctx: int = 1500

    @property
    def n_parameters(self) -> int:
        """Weights and biases, summed as whisper/model.py lays them out."""
        state, square = self.n_state, self.n_state**2
        convolutions = 3 * state * (self.n_mels + state) + 2 * state
        encoder = self.n_layers * (12 * square + 12 * state) + 2 * state
        embeddings = (self.n_vocab + self.n_text_ctx) * state
        decoder = self.n_text_layers * (16 * square + 17 * state) + 2 * state
        return convolutions + encoder + embeddings + decoder

    @property
    def memory_bytes(self) -> int:
        """Float16 weights, and keys and values of self- and cross-attention for a full batch."""
        positions = self.n_text_ctx + self.n_audio_ctx
        caches = _BATCH * self.n_text_layers * 2 * positions * self.n_state
        return 2 * (self.n_parameters + caches)


_MULTILINGUAL, _ENGLISH, _WITH_CANTONESE = 51865, 51864, 51866
ARCHITECTURES: dict[str, Architecture] = {
    "tiny": Architecture(384, 4, 4, _MULTILINGUAL),
    "tiny.en": Architecture(384, 4, 4, _ENGLISH),
    "base": Architecture(512, 6, 6, _MULTILINGUAL),
    "base.en": Architecture(512, 6, 6, _ENGLISH),
    "small": Architecture(768, 12, 12, _MULTILINGUAL),
    "small.en": Architecture(768, 12, 12, _ENGLISH),
    "medium": Architecture(1024, 24, 24, _MULTILINGUAL),
    "medium.en": Architecture(1024, 24, 24, _ENGLISH),
    "large-v1": Architecture(1280, 32, 32, _MULTILINGUAL),
    "large-v2": Architecture(1280, 32, 32, _MULTILINGUAL),
    "large-v3": Architecture(1280, 32, 32, _WITH_CANTONESE, n_mels=128),
    "large-v3-turbo": Architecture(1280, 32, 4, _WITH_CANTONESE, n_mels=128),
}
"""The official models: they can be downloaded, and their checksums are known."""
OFFICIAL_NAMES: tuple[str, ...] = (*ARCHITECTURES, *_ALIASES)
"""Every name openai-whisper knows."""


def canonical_name(name: str) -> str:
    """Resolve an alias: `large` is `large-v3`, `turbo` is `large-v3-turbo`."""
    return _ALIASES.get(name, name)


def is_safe_name(name: str) -> bool:
    """Whether a name from a user may become a file's name."""
    return _SAFE_NAME.fullmatch(name) is not None


def is_official(name: str) -> bool:
    """Whether openai-whisper publishes this model."""
    return canonical_name(name) in ARCHITECTURES


def known_names(model_dir: Path) -> list[str]:
    """Every name that can be asked for now: official ones, `demo`, then the folder's own."""
    names = [*OFFICIAL_NAMES, DEMO]
    own = (path.stem for path in sorted(model_dir.glob("*.pt")) if path.is_file())
    return [*names, *(name for name in own if name not in names and is_safe_name(name))]


def weights_path(name: str, model_dir: Path) -> Path:
    """Where the weights of `name` are or have to be put. Raises `UnknownModel`."""
    name = canonical_name(name)
    path = model_dir / f"{name}.pt" if is_safe_name(name) else None
    if path is None or not (is_official(name) or name == DEMO or path.is_file()):
        allowed = known_names(model_dir)
        raise UnknownModel(
            f"Model {name[:80]!r} is not known here. Models: {', '.join(allowed)}.",
            param="model_size",
            got=name[:80],
            allowed=allowed,
        )
    bundled = ASSETS_DIR / f"{DEMO}.pt"
    return bundled if name == DEMO and bundled.is_file() else path


def find_weights(name: str, model_dir: Path, *, can_download: bool) -> Path:
    """Return where the weights are, or will be once downloaded.

    Raises `UnknownModel`, and `ModelUnavailable` if they are not there and cannot come.
    """
    path = weights_path(name, model_dir)
    if not path.is_file() and not (can_download and is_official(name)):
        raise unavailable(name, path, "its weights are not on disk and are not downloaded")
    return path


def unavailable(name: str, path: Path, reason: str) -> ModelUnavailable:
    """The error for a model that is known but cannot be served: why, and what to do."""
    return ModelUnavailable(
        f"Model {name!r} is not available: {reason}. Put its checkpoint, in openai-whisper's"
        f" format, at {path}.",
        model=name,
        path=str(path),
    )


def list_models(model_dir: Path, loaded: Set[str], *, can_download: bool) -> list[ModelStatus]:
    """Describe every model of `known_names`; `loaded` holds canonical names."""
    return [
        _status(name, model_dir, loaded, can_download=can_download)
        for name in known_names(model_dir)
    ]


def _status(name: str, model_dir: Path, loaded: Set[str], *, can_download: bool) -> ModelStatus:
    path = weights_path(name, model_dir)
    architecture = ARCHITECTURES.get(canonical_name(name))
    return ModelStatus(
        name=name,
        is_multilingual=not name.endswith(".en"),
        n_parameters=architecture.n_parameters if architecture else None,
        memory_bytes=architecture.memory_bytes if architecture else None,
        has_weights=path.is_file(),
        is_loaded=canonical_name(name) in loaded,
        can_download=can_download and architecture is not None,
        path=str(path),
    )
