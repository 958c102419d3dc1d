"""Form fields given twice: refused by name, where a parser would silently take the last."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import get_origin

from fastapi import Request
from pydantic import BaseModel

from whisper_service.api.errors import shown
from whisper_service.errors import InvalidRequest


def refuse_repeats(form: type[BaseModel]) -> Callable[[Request], Awaitable[None]]:
    """A dependency of a route that takes `form`; raises `InvalidRequest`."""
    lists = {
        name for name, field in form.model_fields.items() if get_origin(field.annotation) is list
    }

    async def check(request: Request) -> None:
        # Read and kept by the route already: this parses nothing twice.
        names = Counter(name for name, _ in (await request.form()).multi_items())
        for name, times in names.items():
            if times > 1 and not name.endswith("[]") and name not in lists:
                told = shown(name)
                raise InvalidRequest(
                    f"`{told}` is given {times} times; it may be given once.",
                    param=told,
                    got=times,
                    allowed=1,
                )

    return check
