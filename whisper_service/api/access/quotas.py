"""How much one key may have: requests and bytes a minute, uploads and streams at once.

Each WhisperService replica counts for itself, as it does for its own limits: a key can have up to
that many times the number of replicas.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from whisper_service.api.access.scopes import needed_scope
from whisper_service.api.files.admission import RETRY_AFTER
from whisper_service.api.http.request import facts_of
from whisper_service.errors import RateLimited
from whisper_service.keys.key import ApiKey
from whisper_service.settings import Settings

MINUTE = 60.0


class Quotas:
    """ASGI middleware, inside of `Authentication`: over a key's limit is 429 with Retry-After."""

    def __init__(
        self, app: ASGIApp, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._settings = settings
        self._clock = clock
        self._accounts: dict[str, Account] = {}
        """By name: as many as there ever were keys."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_served = scope["type"] in ("http", "websocket")
        if not is_served or (grant := facts_of(scope).grant) is None:
            await self._app(scope, receive, send)
            return
        account = self._accounts.setdefault(grant.key.name, Account())
        with self._admit(account, grant.key, scope):
            await self._app(scope, receive, send)

    @contextmanager
    def _admit(self, account: "Account", key: ApiKey, scope: Scope) -> Iterator[None]:
        kind = _kind(scope)
        limit = _limit(key, kind)
        if kind and limit and account.n_now[kind] >= limit:
            raise RateLimited(
                f"The API key has {account.n_now[kind]} {kind} at once, all it may have.",
                retry_after=RETRY_AFTER,
                limit=limit,
                what=kind,
            )
        per_minute = key.requests_per_minute or self._settings.key_requests_per_minute
        account.requests.spend(1, per_minute, self._clock())
        if not kind:
            yield
            return
        if kind == "uploads":
            facts_of(scope).spend_bytes = self._counter(account, key)
        account.n_now[kind] += 1
        try:
            yield
        finally:
            account.n_now[kind] -= 1

    def _counter(self, account: "Account", key: ApiKey) -> Callable[[int], None]:
        """What `UploadGuard` is to call for every part of the body."""
        most = key.upload_bytes_per_minute or self._settings.key_upload_bytes_per_minute
        return lambda n_bytes: account.bytes.spend(n_bytes, most, self._clock())


class Account:
    """What one key has used."""

    def __init__(self) -> None:
        self.n_now = {"uploads": 0, "streams": 0}
        self.requests = Allowance("requests")
        self.bytes = Allowance("bytes of uploads")


class Allowance:
    """So much of something a minute."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._full_at = -math.inf
        """When the whole minute's worth will be there again."""

    def spend(self, n: int, per_minute: int | None, now: float) -> None:
        """Take `n`, or raise `RateLimited` and take none if there are not that many.

        The generic cell rate algorithm (ITU-T I.371, annex A): a minute's worth may come at once,
        and grows back evenly, so that there is no moment at which everybody tries again.
        """
        if per_minute is None:
            return
        full_at = max(self._full_at, now) + n * MINUTE / per_minute
        if full_at - now > MINUTE + 1e-6:  # of rounding: sixty times 60/7 is not 60
            raise RateLimited(
                f"The API key has used its {per_minute:,} {self._what} a minute.",
                retry_after=full_at - now - MINUTE,
                limit=per_minute,
                what=f"{self._what} a minute",
            )
        self._full_at = full_at


def _kind(scope: Scope) -> str | None:
    """What a request takes a place of for as long as it lasts."""
    if scope["type"] == "websocket":
        return "streams"
    is_upload = scope["method"] == "POST" and needed_scope(scope) == "transcribe"
    return "uploads" if is_upload else None


def _limit(key: ApiKey, kind: str | None) -> int | None:
    if kind == "uploads":
        return key.max_uploads
    return key.max_streams if kind == "streams" else None
