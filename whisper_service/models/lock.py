"""One process at a time brings a model to a folder; the others wait for what it brings."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from whisper_service.models.progress import StallGuard
from whisper_service.models.weight_files import FetchError

_LOOK_EVERY = 1.0
"""Seconds between two looks at how far the process that has the lock has come."""


@contextmanager
def only_one(target: Path, n_bytes_so_far: Callable[[], int], *, timeout: float) -> Iterator[None]:
    """Hold the lock of `target`, a file beside it; works across the nodes that share a volume.

    Raises `FetchError` where another process holds it and has brought nothing for `timeout`
    seconds, and OSError where the folder cannot be written. A process that dies lets go of it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    _acquire(lock, n_bytes_so_far, timeout)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, n_bytes_so_far: Callable[[], int], timeout: float) -> None:
    began_with = n_bytes_so_far()
    guard = StallGuard(timeout, time.monotonic)
    while True:
        try:
            lock.acquire(timeout=min(_LOOK_EVERY, timeout))
            return
        except Timeout:
            try:
                guard.check(n_bytes_so_far() - began_with)
            except FetchError as error:
                raise FetchError(f"another process is downloading it, and {error}") from None
