"""Parameters given twice: refused by name, where a parser would silently take the last."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import get_origin

from fastapi import Request
from pydantic import BaseModel

from whisper_service.api.http.errors import shown
from whisper_service.errors import InvalidRequest, ServiceError


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
