"""Parameters of other APIs that cannot be honoured, and why: refused by name, not ignored."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticCustomError

_EMPTY: tuple[Any, ...] = (None, "", [], [""], False)
"""What a client sends that names a parameter without asking anything of it."""


def asks_nothing(value: object) -> bool:
    """Whether a parameter of this value might as well have been left out."""
    return value in _EMPTY or (isinstance(value, str) and value.lower() == "false")


def refuse(fields: Mapping[Any, Any], reasons: Mapping[str, str]) -> dict[Any, Any]:
    """The fields without those in `reasons`; raises for the first of them that asks for something.

    To be called by a pydantic validator that runs before the fields are read.
    """
    for name, reason in reasons.items():
        if not asks_nothing(fields.get(name)):
            raise PydanticCustomError(
                "refused",
                "{message}",
                {"message": f"`{name}` cannot be honoured: {reason}.", "param": name},
            )
    return {name: value for name, value in fields.items() if name not in reasons}
