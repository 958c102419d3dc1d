"""Which key opens which path. What is not named here needs a key, of whatever scope."""

from starlette.types import Scope as AsgiScope

from whisper_service.keys.key import Scope

OPEN = frozenset(
    {"/", "/docs", "/openapi.json", "/sample.wav", "/favicon.ico"}
    | {"/health", "/healthz", "/readyz"}
)
"""For probes and for people: they give away nothing that the repository does not."""
OPEN_FOLDERS = ("/docs/assets/",)

JOBS = "/jobs"

SCOPES: dict[str, Scope] = {
    JOBS: "transcribe",  # and all below it
    "/transcribe": "transcribe",
    "/detect-language": "transcribe",
    "/v1/audio/transcriptions": "transcribe",
    "/v1/audio/translations": "transcribe",
    "/stream": "stream",
    "/v1/realtime": "stream",
    "/v1/realtime/client_secrets": "stream",
    "/v1/listen": "stream",
}


def route_path(scope: AsgiScope) -> str:
    """The path as routes see it: without the prefix that a proxy or Serve put in front."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :]
    return path


def is_open(scope: AsgiScope) -> bool:
    """Whether a request needs no key."""
    path = route_path(scope)
    is_read = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    return is_read and (path in OPEN or path.startswith(OPEN_FOLDERS))


def needed_scope(scope: AsgiScope) -> Scope | None:
    """What a key has to open for this; None where any key will do."""
    if scope["type"] == "websocket":
        return "stream"
    return "transcribe" if is_job(scope) else SCOPES.get(route_path(scope))


def is_job(scope: AsgiScope) -> bool:
    """Whether a request is about a job: to make one, or to see what became of it."""
    path = route_path(scope)
    return path == JOBS or path.startswith(JOBS + "/")
