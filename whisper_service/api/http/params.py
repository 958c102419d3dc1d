"""Parameters given twice, and those that cannot be honoured: refused by name.

A parser would silently take the last of several, and ignore what it does not know.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, get_origin

from fastapi import Request
from pydantic import BaseModel
from pydantic_core import PydanticCustomError
from starlette.datastructures import QueryParams

from whisper_service.api.http.errors import shown
from whisper_service.errors import InvalidParameter, InvalidRequest, ServiceError

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


def refuse_repeated(
    names: Iterable[str],
    error: type[ServiceError],
    may_repeat: Callable[[str], bool] = lambda name: False,
) -> None:
    """Raise `error` for the first name that comes twice and may not."""
    for name, times in Counter(names).items():
        if times > 1 and not may_repeat(name):
            told = shown(name)
            raise error(
                f"`{told}` is given {times} times; it may be given once.",
                param=told,
                got=times,
                allowed=1,
            )


def refuse_repeats(form: type[BaseModel]) -> Callable[[Request], Awaitable[None]]:
    """A dependency of a route that takes `form`; raises `InvalidRequest`."""
    lists = {
        name
        for name, field in form.model_fields.items()
        if get_origin(field.annotation) in (list, tuple)
    }

    def is_list(name: str) -> bool:
        return name.endswith("[]") or name in lists

    async def check(request: Request) -> None:
        # Read and kept by the route already: this parses nothing twice.
        fields = (await request.form()).multi_items()
        refuse_repeated((name for name, _ in fields), InvalidRequest, is_list)

    return check


def given_once(query: QueryParams) -> dict[str, str]:
    """The parameters by name; raises `InvalidParameter` where a parser would silently take the last
    of several."""
    refuse_repeated((name for name, _ in query.multi_items()), InvalidParameter)
    return dict(query)


def given(query: QueryParams, lists: Collection[str]) -> dict[str, str | list[str]]:
    """The same where those in `lists` may be given several times, and are lists if they are."""
    names = (name for name, _ in query.multi_items())
    refuse_repeated(names, InvalidParameter, lists.__contains__)
    several = {name: query.getlist(name) for name in lists if len(query.getlist(name)) > 1}
    return {**query, **several}
