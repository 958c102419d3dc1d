"""What a key is, and how one is recognised."""

import pytest

from whisper_service.keys.key import ApiKey, find_key, hash_key, new_key

KEYS = tuple(ApiKey(name=name, sha256=hash_key(name * 20)) for name in ("a", "b"))


def test_keys_are_long_and_never_the_same() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 46  # 256 bits


def test_the_right_key_is_found_and_a_part_of_it_is_not() -> None:
    assert find_key(KEYS, "b" * 20) is KEYS[1]
    assert find_key(KEYS, "b" * 19) is None
    assert find_key(KEYS, KEYS[1].sha256) is None  # a leaked file opens nothing


@pytest.mark.parametrize("given", ["", "x" * 100_000, "ключ", "\udcff"])
def test_a_strange_key_is_only_wrong(given: str) -> None:
    assert find_key(KEYS, given) is None
