"""The parameters of a socket's address: each may be given once."""

from collections import Counter

from starlette.datastructures import QueryParams

from whisper_service.api.errors import shown
from whisper_service.errors import InvalidParameter


def given_once(query: QueryParams) -> dict[str, str]:
    """The parameters by name; raises `InvalidParameter` where a parser would silently take the last
    of several."""
    times = Counter(name for name, _ in query.multi_items())
    for name, count in times.items():
        if count > 1:
            told = shown(name)
            raise InvalidParameter(
                f"`{told}` is given {count} times; it may be given once.",
                param=told,
                got=count,
                allowed=1,
            )
    return dict(query)
