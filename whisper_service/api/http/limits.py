"""How much one replica takes on: uploads and streams at once, bytes and time of a body.

Counts only, no clock but the event loop's and no knowledge of audio. What is over a limit is told
at once instead of being left to hang in a queue nobody sees.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_service.api.access.scopes import needed_scope
from whisper_service.api.files.admission import RETRY_AFTER, UploadAdmission
from whisper_service.api.files.multipart import is_multipart
from whisper_service.api.http.errors import ErrorResponse, missing_file
from whisper_service.api.http.memory import WORTH_IT, give_back
from whisper_service.api.http.request import facts_of
from whisper_service.errors import (
    InvalidRequest,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    ServiceError,
    TimedOut,
)

PATIENCE = 10.0
"""Seconds a body may be slower than its least rate in all: a radio link that changes cells takes a
few."""
MAX_MESSAGE_BYTES = 2**20
"""Of a single message on a socket, and of a body that is no form: half a minute of 16 kHz audio."""
MIN_RATE = 1000.0
"""Bytes a second that have to come of a body, on average: a slower one holds its place for
nothing."""


class Limit:
    """A number of things that may go on side by side."""

    def __init__(self, maximum: int, what: str) -> None:
        self._maximum = maximum
        self._what = what
        self.n_now = 0

    @property
    def has_room(self) -> bool:
        """Whether one more would be admitted."""
        return self.n_now < self._maximum

    @contextmanager
    def admit(self, n: int = 1) -> Iterator[None]:
        """Take `n` places for the length of the block; raise `Overloaded` if they are not there."""
        if self.n_now + n > self._maximum:
            raise Overloaded(
                f"{self.n_now} {self._what} are going on, and the limit is {self._maximum}; try"
                " again soon.",
                retry_after=RETRY_AFTER,
                limit=self._maximum,
            )
        self.n_now += n
        try:
            yield
        finally:
            self.n_now -= n


class UploadGuard:
    """ASGI middleware around everything that takes a body: number, size, rate and time.

    Pure ASGI, because it has to act while the body is being read: a form parser only returns
    when it has all of it. Notes the deadline in the request's facts, and counts its bytes by them.
    """

    def __init__(
        self,
        app: ASGIApp,
        uploads: Limit,
        max_bytes: int,
        timeout: float,
        max_other_bytes: int | None = None,
        min_rate: float = 0.0,
        admission: UploadAdmission | None = None,
    ) -> None:
        """`min_rate`: bytes a second that have to come, averaged; 0 is any. `admission` says
        whether another file is allowed."""
        self._app = app
        self._uploads = uploads
        self._max_bytes = max_bytes
        self._max_other_bytes = max_bytes if max_other_bytes is None else max_other_bytes
        self._timeout = timeout
        self._min_rate = min_rate
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self._app(scope, receive, send)
            return
        headers, facts = Headers(scope=scope), facts_of(scope)
        # Forms are spooled to disk; every other body is read into memory as a whole.
        is_form = is_multipart(content_type := headers.get("content-type", ""))
        max_bytes = self._max_bytes if is_form else min(self._max_bytes, self._max_other_bytes)
        body = _Body(receive, send, max_bytes, self._timeout, self._min_rate, facts.spend_bytes)
        is_upload = needed_scope(scope) == "transcribe"
        if is_upload and not is_form:
            body.too_large = missing_file(content_type)  # what is wrong with it is not its size
        try:
            is_deferred = facts.front is not None and facts.front.is_deferred
            if self._admission is not None and is_upload and not is_deferred:
                self._admission.check()
            with self._uploads.admit():
                body.check_length(headers)
                facts.deadline = body.deadline
                await self._app(scope, body.receive, body.send)
        except ServiceError as error:
            body.failure = error
        finally:
            if body.n_bytes >= WORTH_IT:
                asyncio.get_running_loop().run_in_executor(None, give_back)
        if body.failure is not None and not body.has_answered:
            # The rest of the body is not read, so the connection cannot be used again.
            response = ErrorResponse(body.failure, scope, {"Connection": "close"})
            await response(scope, receive, send)


class _Body:
    """One request's body on its way in. A failure overrides whatever the application answers."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        max_bytes: int,
        timeout: float,
        min_rate: float,
        spend: Callable[[int], None],
    ) -> None:
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._min_rate = min_rate
        self._spend = spend
        self.n_bytes = 0
        self._waited = 0.0
        self._is_complete = False
        self.deadline = asyncio.get_running_loop().time() + timeout
        self.failure: ServiceError | None = None
        self.has_answered = False
        self.too_large: ServiceError = PayloadTooLarge(
            f"The request body is larger than {max_bytes:,} bytes, all that one of its content type"
            " may have; send files as multipart/form-data.",
            max_bytes=max_bytes,
        )

    def check_length(self, headers: Headers) -> None:
        """Refuse by the announced length, before a single byte of it is read."""
        length = headers.get("content-length")
        if length is None:
            return
        if not length.isdecimal() or not length.isascii():
            raise InvalidRequest("Content-Length is no number.")
        # More digits than any limit has; int() would refuse thousands of them.
        if len(length) > 18 or int(length) > self._max_bytes:
            raise self.too_large

    async def receive(self) -> Message:
        """The next part. Once all are here, this waits for the disconnect, with no limit."""
        if self._is_complete:
            return await self._receive()
        message = await self._next_part()
        n_bytes = len(message.get("body", b""))
        self.n_bytes += n_bytes
        if self.n_bytes > self._max_bytes:
            raise self._fail(self.too_large)
        try:
            self._spend(n_bytes)
        except RateLimited as error:
            raise self._fail(error) from None
        self._is_complete = not message.get("more_body", False)
        return message

    async def _next_part(self) -> Message:
        """Wait for the client, and count how long that takes: not what the disk or we take."""
        began = asyncio.get_running_loop().time()
        slow_at = self.deadline
        if self._min_rate:
            slow_at = began + PATIENCE + self.n_bytes / self._min_rate - self._waited
        try:
            async with asyncio.timeout_at(min(slow_at, self.deadline)):
                message = await self._receive()
        except TimeoutError:
            late = time_is_up(self._timeout) if slow_at >= self.deadline else self._too_slow()
            raise self._fail(late) from None
        self._waited += asyncio.get_running_loop().time() - began
        return message

    async def send(self, message: Message) -> None:
        """Pass the answer on, unless it only says that the body could not be read."""
        if self.failure is None:
            self.has_answered = True
            await self._send(message)

    def _fail(self, failure: ServiceError) -> ServiceError:
        self.failure = failure
        return failure

    def _too_slow(self) -> TimedOut:
        return TimedOut(
            f"The request body comes slower than {self._min_rate:,.0f} bytes a second, the least"
            " that keeps an upload its place.",
            limit=self._min_rate,
        )


def time_is_up(limit: float) -> TimedOut:
    """An upload took longer than it may."""
    return TimedOut(
        f"The upload was not done after {limit:g} s, all the time one may take.", limit=limit
    )
