"""What a download is watched by."""

import os
from pathlib import Path
from typing import Any

import pytest

from whisper_service.models.watched import folder_bytes


def test_files_of_all_depths_are_counted_and_links_are_not(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "top").write_bytes(bytes(3))
    (tmp_path / "a" / "b" / "deep").write_bytes(bytes(4))
    (tmp_path / "link").symlink_to("top")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert folder_bytes(tmp_path) == 7


def test_a_folder_that_goes_while_it_is_counted_counts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """huggingface_hub tries links in a temporary folder, which it then removes."""
    (tmp_path / "kept").write_bytes(bytes(5))
    (tmp_path / "temporary").mkdir()
    really = os.scandir

    def gone(path: Any) -> Any:
        if Path(path).name == "temporary":
            Path(path).rmdir()
        return really(path)

    monkeypatch.setattr(os, "scandir", gone)
    assert folder_bytes(tmp_path) == 5


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert folder_bytes(tmp_path / "not-yet") == 0
