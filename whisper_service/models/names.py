"""The names of models: OpenAI's own, what others call them, and which may become a file's name.

Pure, and imports no torch. A name comes from a user, so it never becomes a path before it has
passed `is_safe_name`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

DEMO = "demo"
"""The bundled checkpoint."""
DEMO_NOTE = (
    "It is a test fixture: it knows 76 words, digits and commands, and cannot transcribe ordinary"
    " speech."
)
DEFAULT_MODEL_NAMES = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-live-transcribe",
    "gpt-realtime-whisper",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
)
"""What OpenAI's clients call its speech models: here the service's default model."""
_ALSO_DEFAULT = re.compile(
    r"gpt-4o(-mini)?-transcribe-\d{4}-\d{2}-\d{2}"
    r"|whisper|nova(-\d+)?(-[a-z]+)?|(enhanced|base)-[a-z]+|enhanced"
)
"""OpenAI's with a date, and Deepgram's names for its models; `base` alone is Whisper's."""
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""No separators and no leading dot: such a name cannot leave the folder."""
_SHORT_NAMES = {"large": "large-v3", "turbo": "large-v3-turbo"}
"""As in openai-whisper; resolved first, so that no model is loaded twice under two names."""
_PUBLISHED_AS = re.compile(
    r"(openai/)?whisper-(?P<openai>.+)"
    r"|((systran|guillaumekln|mobiuslabsgmbh)/)?faster-whisper-(?P<converted>.+)"
)
"""Repositories of the Hub that hold OpenAI's own numbers, converted, and their last part alone."""
_OTHER_REPOSITORIES = {
    "openai/whisper-large": "large-v1",  # the first large is there under this name
    "deepdml/faster-whisper-large-v3-turbo-ct2": "large-v3-turbo",
}
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
OFFICIAL_NAMES: tuple[str, ...] = (*ARCHITECTURES, *_SHORT_NAMES)
"""Every name openai-whisper knows."""


def canonical_name(name: str) -> str:
    """Resolve openai-whisper's short names: `large` is `large-v3`, `turbo` is `large-v3-turbo`."""
    return _SHORT_NAMES.get(name, name)


def is_safe_name(name: str) -> bool:
    """Whether a name from a user may become a file's name."""
    return _SAFE_NAME.fullmatch(name) is not None


def is_official(name: str) -> bool:
    """Whether openai-whisper publishes this model."""
    return canonical_name(name) in ARCHITECTURES


def official_name(name: str) -> str | None:
    """The official model that a published name stands for, in any case of letters.

    `openai/whisper-base`, `Systran/faster-whisper-base`, `whisper-base` and `base` are `base`;
    somebody's fine-tune is None.
    """
    lowered = name.strip().lower()
    if found := _OTHER_REPOSITORIES.get(lowered):
        return found
    match = _PUBLISHED_AS.fullmatch(lowered)
    bare = canonical_name((match["openai"] or match["converted"]) if match else lowered)
    return bare if bare in ARCHITECTURES else None


def is_default_name(name: str) -> bool:
    """Whether clients of OpenAI's or Deepgram's mean the service's default model by it."""
    return name in DEFAULT_MODEL_NAMES or _ALSO_DEFAULT.fullmatch(name.lower()) is not None


def resolve_name(
    name: str | None, default: str, served: frozenset[str], aliases: Mapping[str, str]
) -> str:
    """The model that a request means: the first of these that says so.

    An operator's alias; a model that is `served` under just that name; nothing at all, and OpenAI's
    and Deepgram's names for theirs, which are the default; the names that official models are
    published under. A name nobody knows comes back as it is.
    """
    name = aliases.get(name or "", name)
    if name in served:
        return name
    if not name or is_default_name(name):
        name = default
    return name if name in served else official_name(name) or name
