"""The keys file: hashes, all or nothing."""

import json
from pathlib import Path

import pytest

from whisper_service.keys.file import MAX_BYTES, KeysError, read_keys, write_keys
from whisper_service.keys.key import ApiKey, hash_key

KEY = ApiKey(name="web", sha256=hash_key("secret"), scopes=("stream",), max_streams=3)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_keys(path, [KEY])
    assert read_keys(path) == (KEY,)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "Invalid JSON"),
        ('{"keys": [{"name": "a"}]}', r"keys\.0\.sha256"),
        ('{"keys": [{"name": "a", "sha256": "plain-text-key"}]}', r"keys\.0\.sha256"),
        ('{"keys": [], "key": []}', "Extra inputs"),
        (json.dumps({"keys": [KEY.model_dump(), KEY.model_dump()]}), "two keys are named 'web'"),
        (
            json.dumps({"keys": [KEY.model_dump(), {**KEY.model_dump(), "name": "b"}]}),
            "one key has two names, 'web' and 'b'",
        ),
        (" " * (MAX_BYTES + 1), "larger than"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_shows_no_value(
    content: str, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(KeysError, match=complaint) as caught:
        read_keys(path)
    assert "plain-text-key" not in str(caught.value)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="No such file"):
        read_keys(tmp_path / "none.json")
