"""What is known of a request or socket while it is served: middlewares write it, all read it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from starlette.types import Scope

if TYPE_CHECKING:  # fronts and access are built on this module
    from whisper_service.api.access.tokens import Grant
    from whisper_service.api.fronts.front import Front


def _uncounted(n_bytes: int) -> None:
    pass


@dataclass(slots=True)
class RequestFacts:
    """One for each request and each socket; `facts_of` finds it."""

    request_id: str = ""
    """For spans and for the caller."""
    front: "Front | None" = None
    """Whose protocol the path belongs to; None for what belongs to none."""
    grant: "Grant | None" = None
    """What the caller was let in with; None where no keys are asked for."""
    spend_bytes: Callable[[int], None] = _uncounted
    """Counts a part of the body; raises `RateLimited` where it is more than the key may send."""
    deadline: float = inf
    """When an upload has to be answered, by the event loop's clock."""


def facts_of(scope: Scope) -> RequestFacts:
    """The facts of the request or socket that this ASGI scope is of."""
    facts: RequestFacts = scope.setdefault("state", {}).setdefault("facts", RequestFacts())
    return facts


def route_path(scope: Scope) -> str:
    """The path as routes see it: without the prefix that a proxy or Serve put in front."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :]
    return path
