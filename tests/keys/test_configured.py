"""When keys are required, and what is said where there are none."""

from pathlib import Path

import pytest

from whisper_service.keys.configured import access_line, check_access, configured_keys
from whisper_service.keys.file import KeysError, write_keys
from whisper_service.keys.key import ApiKey, find_key, hash_key
from whisper_service.settings import Settings

PLAIN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({}, False),
        ({"host": "127.0.0.2"}, False),
        ({"host": "localhost"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "example.org"}, True),
        ({"host": "0.0.0.0", "require_keys": "off"}, False),
        ({"api_keys": PLAIN}, True),
        ({"require_keys": "on"}, True),
        ({"require_keys": True}, True),  # what YAML makes of a bare `on`
        ({"require_keys": False, "host": "0.0.0.0"}, False),
    ],
)
def test_who_is_reachable_needs_keys(fields: dict[str, object], needs: bool) -> None:
    assert Settings(**fields).needs_keys is needs


def test_without_keys_the_three_ways_out_are_told() -> None:
    with pytest.raises(KeysError) as caught:
        check_access(Settings(host="0.0.0.0"))
    for word in ("WHISPER_API_KEYS_FILE", "WHISPER_HOST=127.0.0.1", "WHISPER_REQUIRE_KEYS=off"):
        assert word in str(caught.value)


def test_off_is_told_too() -> None:
    assert "No API key" in access_line(Settings(host="0.0.0.0", require_keys="off"))
    assert "are required" in access_line(Settings(api_keys=PLAIN))


def test_keys_come_from_the_variable_and_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_keys(path, [ApiKey(name="web", sha256=hash_key("from the file"))])
    keys = configured_keys(Settings(api_keys=f"{PLAIN}, {PLAIN}2", api_keys_file=path))
    assert [key.name for key in keys] == ["env-1", "env-2", "web"]
    found = find_key(keys, PLAIN + "2")
    assert found is not None
    assert found.name == "env-2"


@pytest.mark.parametrize("key", ["tooshort", "ek_" + PLAIN])
def test_a_key_that_cannot_be_one_is_refused_unseen(key: str) -> None:
    with pytest.raises(KeysError, match="Key 2 of WHISPER_API_KEYS") as caught:
        configured_keys(Settings(api_keys=(PLAIN, key)))
    assert key not in str(caught.value)


def test_keys_are_not_printed() -> None:
    assert PLAIN not in repr(Settings(api_keys=PLAIN))
