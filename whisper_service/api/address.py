"""The parameters of a socket's address: each may be given once."""

from starlette.datastructures import QueryParams

from whisper_service.api.repeats import refuse_repeated
from whisper_service.errors import InvalidParameter


def given_once(query: QueryParams) -> dict[str, str]:
    """The parameters by name; raises `InvalidParameter` where a parser would silently take the last
    of several."""
    refuse_repeated((name for name, _ in query.multi_items()), InvalidParameter)
    return dict(query)
