"""The file of keys: JSON, `{"keys": [{"name", "sha256", "scopes", ...}]}`, hashes only."""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whisper_service.keys.key import ApiKey

MAX_BYTES = 4 * 1024 * 1024
"""Some 15,000 keys. A request compares with every one, so a file beyond that is a mistake."""


class KeysError(ValueError):
    """Keys that cannot be used; the message is for the operator and holds no key."""


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    keys: tuple[ApiKey, ...] = Field(())


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """All keys of a file; raises `KeysError`. Blocks: not for the event loop."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise KeysError(f"The keys file {path} cannot be read ({error.strerror}).") from None
    if len(data) > MAX_BYTES:
        raise KeysError(f"The keys file {path} is larger than {MAX_BYTES:,} bytes.")
    try:
        keys = _KeyFile.model_validate_json(data).keys
    except ValidationError as error:
        failure = error.errors()[0]
        place = ".".join(map(str, failure["loc"])) or "the file"
        raise KeysError(f"The keys file {path} is wrong at {place}: {failure['msg']}.") from None
    refuse_twins(keys, str(path))
    return keys


def write_keys(path: Path, keys: Sequence[ApiKey]) -> None:
    """Replace the file in one step, readable by its owner alone; raises `OSError`."""
    fields = [key.model_dump(exclude_none=True) for key in keys]
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(json.dumps({"keys": fields}, indent=2) + "\n")
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise


def refuse_twins(keys: Sequence[ApiKey], place: str) -> None:
    """Raise `KeysError` where two keys share a name or are the same."""
    for what in ("name", "sha256"):
        seen: dict[str, str] = {}
        for key in keys:
            value = getattr(key, what)
            if value in seen:
                told = (
                    f"named {key.name!r}" if what == "name" else f"{seen[value]!r} and {key.name!r}"
                )
                problem = "two keys are" if what == "name" else "one key has two names,"
                raise KeysError(f"In {place} {problem} {told}.")
            seen[value] = key.name
