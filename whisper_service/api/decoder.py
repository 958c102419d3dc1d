"""The door from the API to whatever decodes: a Ray Serve handle, or a script in tests."""

from typing import Protocol

from whisper_service.types import (
    Audio,
    DecodeJob,
    DecoderStats,
    Hypothesis,
    LanguageDetection,
    ModelStatus,
)

MODELS_MAX_AGE = 3.0
"""Seconds a list of models is good for; it changes when an operator adds a file."""


class Decoder(Protocol):
    """What the API needs of WhisperASR. Every method raises only errors of the tree.

    `UnknownModel` and `UnknownLanguage` name what is allowed, `ModelUnavailable` says where to
    put weights, `Overloaded` means try again. Cancelling the awaiting task gives the job up.
    """

    async def decode(self, model_size: str, job: DecodeJob) -> Hypothesis:
        """Decode one window of at most 30 s."""

    async def detect_language(self, model_size: str, audio: Audio) -> LanguageDetection:
        """Say which language the first 30 s of `audio` are in."""

    async def models(self, *, max_age: float = MODELS_MAX_AGE) -> list[ModelStatus]:
        """List every model that can be asked for, official names first, as it was at most
        `max_age` seconds ago."""

    async def check(self) -> None:
        """Return if a model is loaded and decodes; raise `Unavailable` with the reason if not."""

    async def presence(self) -> None:
        """Return once somebody is there to decode; raise `Unavailable` where nobody has been for
        long. For work that has just come: what was taken on before is waited for."""

    async def stats(self) -> DecoderStats:
        """Say what one of the model servers is doing."""
