"""locks/ and requirements.txt name the same; `make lock` makes the one from the other."""

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.lock import FOLDER, SOURCES, entries, file_of, name_of

ROOT = Path(__file__).parents[1]
LOCKS = {path.stem: path.read_text() for path in FOLDER.glob("*.txt")}
LOCKED = {name_of(entry): entry for text in LOCKS.values() for entry in entries(text)}


def asked() -> Iterator[Requirement]:
    """What a person wrote down."""
    for source in SOURCES:
        for line in (ROOT / source).read_text().splitlines():
            if line and not line.startswith("#"):
                yield Requirement(line)


@pytest.mark.parametrize("requirement", list(asked()), ids=str)
def test_every_requirement_is_locked_in_its_version(requirement: Requirement) -> None:
    entry = LOCKED[canonicalize_name(requirement.name)]
    assert Requirement(re.split(r" [\\;]", entry)[0]).specifier == requirement.specifier


def test_what_they_need_in_turn_is_locked_too() -> None:
    """As far as it is installed here, by what the packages themselves say."""
    seen: set[tuple[str, str]] = set()
    todo = list(asked())
    missing = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        missing |= {name} - LOCKED.keys()
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                todo += needed(name, extra)
    assert missing == set()
    assert len(seen) > len(list(asked()))


def needed(name: str, extra: str) -> Iterator[Requirement]:
    try:
        found = map(Requirement, requires(name) or ())
    except PackageNotFoundError:
        return
    for requirement in found:
        if requirement.marker is None:
            if not extra:
                yield requirement
        elif requirement.marker.evaluate({"extra": extra}):
            yield requirement


def test_every_package_has_one_version_and_the_hashes_of_its_files() -> None:
    assert len(LOCKED) > 50
    for name, entry in LOCKED.items():
        first, *hashes = entry.replace("\\", "").splitlines()
        assert re.match(rf"{name}==[\w.]+( ;.*)?$", first.strip()), entry
        assert hashes
        assert all(re.fullmatch(r"\s+--hash=sha256:[0-9a-f]{64}\s*", line) for line in hashes)


def test_the_locks_say_nothing_of_where_files_come_from() -> None:
    for text in LOCKS.values():
        assert not re.search(r"://|^\s*-", text.replace("    --hash=", ""), re.M)


def test_the_image_installs_every_lock_and_checks_its_hashes() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert set(LOCKS) == {"build", "torch", "service"}
    for name in LOCKS:
        assert re.search(rf"--require-hashes (--\S+ )*-r locks/{name}\.txt", dockerfile)
    assert "requirements.txt\n" not in dockerfile.split("FROM", 1)[1]


def test_torch_of_another_build_is_the_same_torch() -> None:
    version = re.search(r"^torch(==\S+)", (ROOT / "requirements.txt").read_text(), re.M)
    assert version
    for text in ("Dockerfile", "README.md"):
        assert re.findall(r'TORCH="torch(==\S+)', (ROOT / text).read_text()) == [version[1]]


def test_torch_and_its_cuda_are_apart() -> None:
    assert file_of("torch") == file_of("nvidia-cublas") == file_of("triton") == "torch"
    assert {file_of(name) for name in ("ray", "setuptools")} == {"service", "build"}
