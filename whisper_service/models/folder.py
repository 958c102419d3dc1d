"""Weights on disk: `NAME.pt`, or a folder `NAME` in Hugging Face's or CTranslate2's format."""

from pathlib import Path

from whisper_service.models import names
from whisper_service.models.progress import Progress
from whisper_service.models.weight_files import TORCH_SUFFIX, FetchError, Weights, is_model_folder

ASSETS_DIR = Path(__file__).resolve().parents[1] / "assets"
"""Package data: the bundled checkpoint."""


class Folder:
    """A folder of models. Nothing is fetched into it here; other sources do that."""

    title = "the model folder"

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, name: str) -> Weights | None:
        """The file before the folder of the same name."""
        if not names.is_safe_name(name):
            return None
        file, folder = self.path / f"{name}{TORCH_SUFFIX}", self.path / name
        if file.is_file():
            return Weights(file)
        return Weights(folder) if is_model_folder(folder) else None

    def names(self) -> list[str]:
        """Every model in it, in the order of the alphabet."""
        if not self.path.is_dir():
            return []
        found = {path.stem for path in self.path.glob(f"*{TORCH_SUFFIX}") if path.is_file()}
        found |= {path.name for path in self.path.iterdir() if is_model_folder(path)}
        return sorted(name for name in found if names.is_safe_name(name))

    def can_fetch(self, name: str) -> bool:
        """Never."""
        return False

    def fetch(self, name: str, progress: Progress) -> Weights:
        """Raises `FetchError`."""
        raise FetchError("it is no source that anything is fetched from")


class Bundled(Folder):
    """The checkpoint that the package brings."""

    title = "the package"

    def __init__(self) -> None:
        super().__init__(ASSETS_DIR)

    def find(self, name: str) -> Weights | None:
        """Only `demo`."""
        return super().find(name) if name == names.DEMO else None
