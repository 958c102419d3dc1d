"""`python -m whisper_service.models`."""

from pathlib import Path

import pytest

from whisper_service.models.__main__ import main


@pytest.fixture(autouse=True)
def _no_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPER_MODEL_DIR", str(tmp_path))
    monkeypatch.setenv("WHISPER_DOWNLOAD_MODELS", "false")


def test_it_prints_where_each_model_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "base.pt").touch()
    assert main(["openai/whisper-base", "base"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'base.pt'}\n" * 2


def test_a_model_that_cannot_be_had_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["small"]) == 1
    assert "error: Model 'small' is not available" in capsys.readouterr().err
