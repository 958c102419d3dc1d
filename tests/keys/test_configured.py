"""Whether keys are required, and what the operator reads where there are none."""

from pathlib import Path

import pytest

from whisper_service.keys.configured import (
    access_line,
    check_access,
    configured_keys,
    open_access_warning,
)
from whisper_service.keys.file import KeysError, write_keys
from whisper_service.keys.key import ApiKey, find_key, hash_key
from whisper_service.settings import Settings

PLAIN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("fields", "access"),
    [
        ({}, "local"),
        ({"host": "127.0.0.2"}, "local"),
        ({"host": "localhost"}, "local"),
        ({"require_keys": "off"}, "local"),
        ({"host": "0.0.0.0"}, "open"),
        ({"host": "example.org"}, "open"),
        ({"host": "0.0.0.0", "require_keys": "off"}, "open"),
        ({"require_keys": False, "host": "0.0.0.0"}, "open"),
        ({"api_keys": PLAIN}, "keys"),
        ({"host": "0.0.0.0", "api_keys_file": "keys.json"}, "keys"),
        ({"require_keys": "on"}, "keys"),
        ({"require_keys": True}, "keys"),  # what YAML makes of a bare `on`
    ],
)
def test_configured_keys_are_required_and_an_address_alone_requires_none(
    fields: dict[str, object], access: str
) -> None:
    assert Settings(**fields).access == access


def test_required_keys_that_are_not_configured_are_refused_with_the_ways_out() -> None:
    with pytest.raises(KeysError, match="WHISPER_REQUIRE_KEYS=on") as caught:
        check_access(Settings(require_keys="on"))
    for word in ("WHISPER_API_KEYS_FILE", "WHISPER_API_KEYS", "auto", "WHISPER_REQUIRE_KEYS=off"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "is_warned_of"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "require_keys": "off"}, False),
        ({"host": "0.0.0.0", "api_keys": PLAIN}, False),
        ({}, False),
    ],
)
def test_an_open_service_is_warned_of_unless_it_is_open_on_purpose(
    fields: dict[str, object], *, is_warned_of: bool
) -> None:
    settings = Settings(**fields)
    check_access(settings)
    assert bool(open_access_warning(settings)) is is_warned_of
    assert ("WARNING" in access_line(settings)) is is_warned_of


def test_the_line_for_the_terminal_describes_the_access() -> None:
    assert "WHISPER_API_KEYS" in access_line(Settings(host="0.0.0.0"))
    assert "=off" in access_line(Settings(host="0.0.0.0", require_keys="off"))
    assert "only this machine" in access_line(Settings())
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
