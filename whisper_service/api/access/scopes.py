"""Which key opens which path. What is not named here or by a front needs a key, of any scope."""

from starlette.types import Scope as AsgiScope

from whisper_service.api.http.request import facts_of, route_path
from whisper_service.keys.key import Scope

OPEN = frozenset(
    {"/", "/docs", "/openapi.json", "/sample.wav", "/favicon.ico"}
    | {"/health", "/healthz", "/readyz"}
)
"""For probes and for people: they give away nothing that the repository does not."""
OPEN_FOLDERS = ("/docs/assets/",)


def is_open(scope: AsgiScope) -> bool:
    """Whether a request needs no key."""
    path = route_path(scope)
    is_read = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    return is_read and (path in OPEN or path.startswith(OPEN_FOLDERS))


def needed_scope(scope: AsgiScope) -> Scope | None:
    """What a key has to open for this; None where any key will do."""
    if scope["type"] == "websocket":
        return "stream"
    front = facts_of(scope).front
    return None if front is None else front.needed_scope(route_path(scope))
