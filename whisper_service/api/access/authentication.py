"""Lets in who has a key or a token, for what it opens. Everything else ends here."""

import time
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from whisper_service.api.access.credentials import Subprotocol, credential
from whisper_service.api.access.keyring import KeyRing
from whisper_service.api.access.scopes import is_open, needed_scope
from whisper_service.api.access.tokens import PREFIX, Grant, Tokens
from whisper_service.api.http.request import facts_of
from whisper_service.errors import Forbidden, Unauthorized

_HOW = "Send `Authorization: Bearer KEY`; from a browser's socket, the subprotocols of docs/api.md."


class Authentication:
    """ASGI middleware for requests and sockets. Notes the `Grant` in their facts.

    Before any body is read and any handshake accepted, so that a stranger costs next to nothing.
    """

    def __init__(
        self, app: ASGIApp, keys: KeyRing, tokens: Tokens, subprotocols: Sequence[Subprotocol]
    ) -> None:
        self._app = app
        self._keys = keys
        self._tokens = tokens
        self._subprotocols = subprotocols

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not is_open(scope):
            facts_of(scope).grant = await self._grant(scope)
        await self._app(scope, receive, send)

    async def _grant(self, scope: Scope) -> Grant:
        given = credential(scope, self._subprotocols)
        if given is None:
            raise Unauthorized(f"There is no API key. {_HOW}")
        await self._keys.refresh()
        grant = self._of_token(given) if given.startswith(PREFIX) else self._of_key(given)
        needed = needed_scope(scope)
        if needed is not None and needed not in grant.scopes:
            raise Forbidden(
                f"The API key does not open this: it needs the scope `{needed}`.",
                got=list(grant.scopes),
                allowed=[needed],
            )
        return grant

    def _of_key(self, given: str) -> Grant:
        key = self._keys.find(given)
        if key is None:
            raise Unauthorized(f"The API key is not known here. {_HOW}")
        return Grant(key, key.scopes, is_token=False)

    def _of_token(self, given: str) -> Grant:
        token = self._tokens.read(given, time.time())
        key = self._keys.named(token.key_name)
        if key is None or token.fingerprint != self._tokens.fingerprint(key):
            raise Unauthorized("The token's API key is not known here any more.")
        # A key that was given fewer scopes since takes them from its tokens as well.
        scopes = tuple(scope for scope in token.scopes if scope in key.scopes)
        return Grant(key, scopes, is_token=True)
