"""Structured concurrency as the API needs it: plain errors, and work that ends with its client."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

T = TypeVar("T")


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """`asyncio.TaskGroup`, but the first failure comes out as itself, not inside a group.

    The tasks of a group here belong to one request; once one failed the others are cancelled, and
    what they still raise is a consequence.
    """
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        raise _first(failures) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def unless_client_leaves(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; cancel it and raise `ClientDisconnect` when the client goes away first.

    To be called once the body was read: the next thing `receive` gives is then the disconnect.
    """
    async with task_group() as group:
        working = group.create_task(work)
        watching = group.create_task(_disconnect(receive))
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        watching.cancel()
        working.cancel()  # does nothing to a task that is done
    if working.cancelled():
        raise ClientDisconnect
    return working.result()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
