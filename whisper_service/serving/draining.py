"""Whether Serve is taking this replica out of service.

Serve has no public sign of it for user code, and closes no sockets: the streams must end
themselves. The flag read here is private (ray 2.60, `serve/_private/replica.py`); where it is not
found the answer is False, and streams end when the replica does.
"""

import logging
from typing import Any

import ray

logger = logging.getLogger(__name__)


def is_draining() -> bool:
    """Read the replica's flag; cheap enough to ask a few times a second."""
    return any(getattr(impl, "_shutting_down", False) is True for impl in _replica_impls())


def _replica_impls() -> list[Any]:
    try:
        actors = ray._private.worker.global_worker.actors.values()
        return [impl for actor in actors if (impl := getattr(actor, "_replica_impl", None))]
    except AttributeError:
        return []
