"""A JSON answer that white space keeps open while it is being made.

For proxies that give up an answer which is silent for long, where a client asks for it: white space
may stand before a JSON text (RFC 8259, section 2), but a status cannot change once a byte of the
body is out. What goes wrong later is told in the body, in the usual shape, with the status 200.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from whisper_service.api.files import events
from whisper_service.api.http.errors import ErrorResponse
from whisper_service.api.tasks import task_group, unless_client_leaves
from whisper_service.errors import InternalError, ServiceError

logger = logging.getLogger(__name__)


class KeptOpenResponse(Response):
    """Awaits `work`, and answers what it returns; before that, spaces in between."""

    media_type = "application/json"

    def __init__(
        self,
        work: Callable[[], Awaitable[Response]],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`headers`: of an answer that was kept open."""
        # nginx passes each space on, and nobody keeps the answer
        quick = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(headers={**(headers or {}), **quick})
        del self.headers["content-length"]
        self._work = work
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; raises what `work` raised before the first space."""
        try:
            response = await unless_client_leaves(receive, self._wait(scope, send))
        except ClientDisconnect:
            if not self._has_begun:
                raise
            return
        if self._has_begun:
            await send({"type": "http.response.body", "body": response.body})
        else:
            await response(scope, receive, send)

    async def _wait(self, scope: Scope, send: Send) -> Response:
        async with task_group() as group:
            working = group.create_task(self._outcome(scope))
            while not (await asyncio.wait({working}, timeout=events.KEEPALIVE))[0]:
                if not self._has_begun:
                    self._has_begun = True
                    start = {"type": "http.response.start", "status": 200}
                    await send({**start, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": b" ", "more_body": True})
        return working.result()

    async def _outcome(self, scope: Scope) -> Response:
        try:
            return await self._work()
        except ServiceError as error:
            if not self._has_begun:
                raise
            return ErrorResponse(error, scope)
        except Exception:
            if not self._has_begun:
                raise
            logger.exception("An answer that was kept open failed")
            return ErrorResponse(InternalError(), scope)
