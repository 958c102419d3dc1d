"""The parameters of a socket's address: each may be given once, unless it is a list."""

from collections.abc import Collection

from starlette.datastructures import QueryParams

from whisper_service.api.http.repeats import refuse_repeated
from whisper_service.errors import InvalidParameter


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
