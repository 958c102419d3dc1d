"""The keys as they stand now: those of the variable, and of a file that may change at any time."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from whisper_service.keys.configured import configured_keys
from whisper_service.keys.file import KeysError
from whisper_service.keys.key import ApiKey, find_key
from whisper_service.settings import Settings

logger = logging.getLogger(__name__)

CHECK_INTERVAL = 5.0
"""Seconds between two looks at the keys file: within that a change of it counts."""

_Stamp = tuple[int, int, int]


class KeyRing:
    """Finds keys. Making one reads the file, and raises `KeysError` if that cannot be done."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._path = settings.api_keys_file and settings.api_keys_file.expanduser()
        self._stamp = _stamp(self._path)
        self._keys = configured_keys(settings)
        self._next_look = clock() + CHECK_INTERVAL

    def find(self, given: str) -> ApiKey | None:
        """The key that was given, if it is one."""
        return find_key(self._keys, given)

    def named(self, name: str | None) -> ApiKey | None:
        """The key of that name."""
        return next((key for key in self._keys if key.name == name), None)

    async def refresh(self) -> None:
        """Read the file again if it has changed; looks at it once an interval, in a thread.

        Whoever comes while somebody looks goes on with the keys as they were. A file that cannot
        be used is told in the log, and changes nothing: half an edit locks nobody out.
        """
        now = self._clock()
        if self._path is None or now < self._next_look:
            return
        self._next_look = now + CHECK_INTERVAL
        stamp = await asyncio.to_thread(_stamp, self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = await asyncio.to_thread(configured_keys, self._settings)
        except KeysError as error:
            logger.error("The API keys stay as they were. %s", error)
        else:
            logger.info("There are %d API keys now", len(self._keys))


def _stamp(path: Path | None) -> _Stamp | None:
    """What changes with the file; a Secret that Kubernetes mounts is replaced, not written to."""
    if path is None:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
