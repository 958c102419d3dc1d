"""What a front is: all that the rest of the service has to know of a protocol, in one value."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from fastapi import APIRouter
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from whisper_service.api.access.credentials import Subprotocol
from whisper_service.api.decoder import Decoder
from whisper_service.api.files.transcription import Transcriber
from whisper_service.api.http.errors import Shape, own_shape
from whisper_service.api.http.limits import Limit
from whisper_service.api.http.request import facts_of, route_path
from whisper_service.api.live.streams import LiveStreams
from whisper_service.api.metrics import Metrics
from whisper_service.keys.key import Scope
from whisper_service.settings import Settings


@dataclass(frozen=True, slots=True)
class Replica:
    """What the fronts of one replica share."""

    settings: Settings
    decoder: Decoder
    transcriber: Transcriber
    uploads: Limit
    streams: LiveStreams
    metrics: Metrics
    draining: Callable[[], bool]
    """Whether the replica is going away."""
    secret: str
    """Signs what clients bring back: tokens, places to resume from."""


@dataclass(frozen=True, slots=True)
class Front:
    """One protocol, as the `FRONT` of its folder describes it to the rest of the service."""

    paths: Mapping[str, Scope | None]
    """Its paths, each with all that is below it, and what a key has to open for it; None where any
    key will do. Where two match, the longer one counts."""
    routers: Callable[[Replica], Iterable[APIRouter]]
    """Makes its routes. What has to run beside them is the lifespan of a router."""
    shape: Shape = own_shape
    """How it says errors."""
    subprotocol: Subprotocol | None = None
    """How a browser brings a key to its socket."""
    is_deferred: bool = False
    """Whether its files are transcribed later: they do not stand in the queue of uploads."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Headings of its routes in /docs, with a sentence each."""
    guide: str = ""
    """What /docs says of it beyond its routes, as Markdown."""

    def own_path(self, path: str) -> str | None:
        """The longest of its paths that `path` is, or is below; None where it is not its own."""
        matching = (own for own in self.paths if path == own or path.startswith(f"{own}/"))
        return max(matching, key=len, default=None)

    def needed_scope(self, path: str) -> Scope | None:
        """What a key has to open for a path of its own."""
        own = self.own_path(path)
        return None if own is None else self.paths[own]


def front_of(path: str, fronts: Iterable[Front]) -> Front | None:
    """The front that a path belongs to."""
    found = [(own, front) for front in fronts if (own := front.own_path(path)) is not None]
    return max(found, key=lambda pair: len(pair[0]))[1] if found else None


class FindFront:
    """ASGI middleware: notes the front of every request and socket, for all inside of it."""

    def __init__(self, app: ASGIApp, fronts: Iterable[Front]) -> None:
        self._app = app
        self._fronts = tuple(fronts)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            facts_of(scope).front = front_of(route_path(scope), self._fronts)
        await self._app(scope, receive, send)
