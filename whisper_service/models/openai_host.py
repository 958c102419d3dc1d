"""OpenAI's own checkpoints, from the addresses and with the SHA-256 sums of openai-whisper."""

from pathlib import Path

from whisper_service.models import names
from whisper_service.models.download import download
from whisper_service.models.progress import Progress
from whisper_service.models.weight_files import TORCH_SUFFIX, Weights

PUBLIC_URL = "https://openaipublic.azureedge.net/main/whisper/models"
SHA256 = {
    "tiny.en": "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
    "tiny": "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
    "base.en": "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead",
    "base": "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
    "small.en": "f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872",
    "small": "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
    "medium.en": "d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f",
    "medium": "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
    "large-v1": "e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a",
    "large-v2": "81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524",
    "large-v3": "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
    "large-v3-turbo": "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
}
"""Of the published files, whisper/__init__.py."""
_OVERHEAD = 64 * 1024 * 1024
"""What a checkpoint may hold beside its float16 numbers; it is less than 1 MB."""


class OpenAIHost:
    """The host that openai-whisper itself downloads from, or a mirror of it."""

    def __init__(self, folder: Path, base_url: str, *, timeout: float) -> None:
        self._folder, self._base_url, self._timeout = folder, base_url.rstrip("/"), timeout
        self.title = "OpenAI's host" if base_url == PUBLIC_URL else base_url

    def find(self, name: str) -> Weights | None:
        """None: what was downloaded lies in the model folder."""
        return None

    def can_fetch(self, name: str) -> bool:
        """Whether it is one of OpenAI's."""
        return name in SHA256

    def fetch(self, name: str, progress: Progress) -> Weights:
        """Download the checkpoint into the model folder. Raises `FetchError`."""
        path = self._folder / f"{name}{TORCH_SUFFIX}"
        sha256 = SHA256[name]
        download(
            f"{self._base_url}/{sha256}/{name}{TORCH_SUFFIX}",
            path,
            sha256=sha256,
            max_bytes=2 * names.ARCHITECTURES[name].n_parameters + _OVERHEAD,
            timeout=self._timeout,
            progress=progress,
        )
        return Weights(path)
