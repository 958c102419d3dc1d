"""Machine code is kept from one process to the next, and never taken for another's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba import carray, njit

from whisper_service.engine.cpu import keep_compiled, openmp
from whisper_service.engine.cpu import kernel as module
from whisper_service.engine.cpu.kernel import kernel

pytestmark = pytest.mark.skipif(openmp.library() is None, reason="torch has no GNU OpenMP here")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one place where machine code is kept."""
    folder = tmp_path / "kept"
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator")
    return folder


def adding(n: int) -> Any:
    @kernel
    def add(arguments: Any) -> None:
        carray(arguments, (1,), np.int64)[0] += n

    return add


def is_loaded(n: int) -> bool:
    """Whether the kernel, which has to do its work, was loaded, not compiled."""
    compiled = adding(n)
    numbers = np.zeros(1, np.int64)
    compiled.ctypes(numbers.ctypes.data_as(compiled.ctypes.argtypes[0]))
    assert numbers[0] == n
    return bool(compiled.cache_hits)


def test_it_is_compiled_once_for_each_of_its_variables(folder: Path) -> None:
    assert [is_loaded(n) for n in (1, 2, 1, 2)] == [False, False, True, True]


def test_different_code_is_never_in_the_same_file(folder: Path) -> None:
    """Two processes that begin at once would each take the first free name."""
    adding(1)
    first = set(folder.rglob("*.nb?"))
    shutil.move(folder, folder.with_name("moved"))
    adding(2)
    assert len(first) == 2
    assert not first & set(folder.rglob("*.nb?"))


def test_a_change_in_another_module_compiles_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adding(1)
    sources = shutil.copytree(Path(module.__file__).parent, tmp_path / "sources")
    with (sources / "gemm.py").open("a") as file:
        file.write("\n")
    monkeypatch.setattr(module, "__file__", str(sources / "kernel.py"))
    module._surroundings.cache_clear()
    try:
        assert not is_loaded(1)
        assert is_loaded(1)
    finally:
        module._surroundings.cache_clear()


def test_without_a_folder_it_is_compiled_each_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "/dev/null/kept")
    assert [is_loaded(1), is_loaded(1)] == [False, False]
    doubled = njit(lambda number: number * 2)
    keep_compiled(doubled)
    assert doubled(2) == 4


def test_a_damaged_file_is_compiled_anew(folder: Path) -> None:
    adding(1)
    for path in folder.rglob("*.nb?"):
        os.truncate(path, 40)
    assert not is_loaded(1)


def test_a_full_disk_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_paths: str) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    assert not is_loaded(1)


def test_only_variables_that_the_next_process_has_too(folder: Path) -> None:
    scale = njit(lambda number: number * 2)
    with pytest.raises(AssertionError):

        @kernel
        def double(arguments: Any) -> None:
            carray(arguments, (1,), np.int64)[0] = scale(1)


SCRIPT = """
import sys
from pathlib import Path
from numba.core import event
from whisper_service.engine.engine import load_engine
with event.install_recorder("numba:run_pass") as passes:
    load_engine("demo", Path(sys.argv[1]), device="cpu", dtype="float32").warm_up()
print(len(passes.buffer))
"""


@pytest.mark.model
def test_the_second_process_compiles_nothing(demo_path: Path, tmp_path: Path) -> None:
    """Nor do two that begin at once disturb each other."""

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(demo_path.parent)],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def n_passes(process: subprocess.Popen[str]) -> int:
        answer, _ = process.communicate(timeout=120)
        return int(answer)

    at_once = [start(), start()]
    assert all(n_passes(process) > 0 for process in at_once)
    assert n_passes(start()) == 0
