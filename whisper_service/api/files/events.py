"""An answer made of server-sent events that can still fail with a real HTTP status.

The work begins before the answer does: as long as no event was made, and for a moment at the most,
an error is a status code with the one JSON shape; after that it is an `error` event, which ends the
stream. Proxies give up an answer that is silent for long: while no event comes, comments do.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from whisper_service.api.http.errors import Shape, shape_of
from whisper_service.api.tasks import task_group, unless_client_leaves
from whisper_service.errors import InternalError, ServiceError

logger = logging.getLogger(__name__)

SendEvent = Callable[[str, dict[str, Any]], Awaitable[None]]
"""Sends one event: its name and its data."""
Work = Callable[[SendEvent], Awaitable[None]]


FIRST_WAIT = 1.0
"""Seconds the first event is waited for before the answer begins all the same: that a file cannot
be read is mostly known sooner, and no proxy is as impatient."""
KEEPALIVE = 5.0
"""Seconds after which an answer with nothing to say yet says that it goes on: proxies give up a
silent one after 30 to 100."""
MAX_WAITING = 16
"""Events that may wait for a client that reads slowly; then its upload waits for it."""


class EventsResponse(Response):
    """Runs `work` and sends its events. Work and answer share one scope, so that whichever
    ends first, by a disconnect too, ends the other."""

    def __init__(
        self,
        work: Work,
        headers: Mapping[str, str] | None = None,
        *,
        has_names: bool = True,
    ) -> None:
        """`has_names`: whether events carry their names outside of their data."""
        super().__init__(media_type="text/event-stream")
        self._more_headers = headers
        self._work = work
        self._has_names = has_names
        self._has_begun = False
        """The status is out, or will be 200."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; raises what `work` raised before the answer began."""
        queue: asyncio.Queue[ServerSentEvent | None] = asyncio.Queue(MAX_WAITING)
        async with task_group() as group:
            working = group.create_task(self._fill(queue, shape_of(scope)))
            first = await unless_client_leaves(receive, self._first(queue))
            events = EventSourceResponse(
                _drain(first, queue), headers=self._more_headers, ping=KEEPALIVE
            )
            await events(scope, receive, send)
            working.cancel()

    async def _first(self, queue: asyncio.Queue[ServerSentEvent | None]) -> ServerSentEvent | None:
        try:
            async with asyncio.timeout(FIRST_WAIT):
                return await queue.get()
        except TimeoutError:
            self._has_begun = True
            return ServerSentEvent(comment="in work")

    async def _fill(self, queue: asyncio.Queue[ServerSentEvent | None], shape: Shape) -> None:
        async def send_event(name: str, data: dict[str, Any]) -> None:
            self._has_begun = True
            text = json.dumps(data, ensure_ascii=False, allow_nan=False)
            await queue.put(ServerSentEvent(text, event=name if self._has_names else None))

        try:
            await self._work(send_event)
        except ServiceError as error:
            if not self._has_begun:
                raise
            await send_event("error", shape(error).body)
        except Exception:
            if not self._has_begun:
                raise
            logger.exception("A streamed answer failed")
            await send_event("error", shape(InternalError()).body)
        await queue.put(None)


async def _drain(
    first: ServerSentEvent | None, queue: asyncio.Queue[ServerSentEvent | None]
) -> AsyncIterator[ServerSentEvent]:
    event = first
    while event is not None:
        yield event
        event = await queue.get()
