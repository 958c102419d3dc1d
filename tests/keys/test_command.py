"""`python -m whisper_service.keys`."""

from pathlib import Path

import pytest

from whisper_service.keys.__main__ import main
from whisper_service.keys.file import read_keys
from whisper_service.keys.key import find_key


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    said = capsys.readouterr()
    return code, said.out.strip(), said.err


def test_a_new_key_is_printed_once_and_its_hash_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ["--file", str(tmp_path / "keys.json")]
    limits = ["--scope", "stream", "--max-streams", "2", "--requests-per-minute", "60"]
    code, key, _ = run(capsys, "new", "web", *limits, *file)
    assert code == 0
    kept = find_key(read_keys(tmp_path / "keys.json"), key)
    assert kept is not None
    assert (kept.name, kept.scopes, kept.max_streams) == ("web", ("stream",), 2)
    assert key not in (tmp_path / "keys.json").read_text()
    _, listed, _ = run(capsys, "list", *file)
    assert listed == "web  stream  requests_per_minute=60  max_streams=2"


def test_a_name_is_used_once_until_it_is_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ["--file", str(tmp_path / "keys.json")]
    run(capsys, "new", "web", *file)
    code, out, said = run(capsys, "new", "web", *file)
    assert (code, out) == (1, "")
    assert "already" in said
    assert run(capsys, "remove", "web", *file)[0] == 0
    assert read_keys(tmp_path / "keys.json") == ()
    code, _, said = run(capsys, "remove", "web", *file)
    assert code == 1
    assert "no key named 'web'" in said


@pytest.mark.parametrize("arguments", [["a b"], ["web", "--max-streams", "0"]])
def test_what_cannot_be_kept_makes_no_key(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.json"
    code, out, said = run(capsys, "new", *arguments, "--file", str(path))
    assert (code, out) == (1, "")
    assert said.startswith("error: ")
    assert not path.exists()
