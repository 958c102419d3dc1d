"""Fetch an official checkpoint: openai-whisper's own addresses and SHA-256 sums.

Not openai-whisper's own download function: that one has no time limit, so that a network which
swallows packets hangs a replica for ever; it holds the whole file in memory; and it writes to the
final name, so that a broken-off download is found, and refused, by the next start.
"""

import hashlib
import http.client
import logging
import os
import urllib.request
from pathlib import Path

import whisper

from whisper_service.engine import catalog

logger = logging.getLogger(__name__)

_BLOCK = 1024 * 1024


def official_url(name: str) -> str:
    """The address openai-whisper has for a model; the last folder in it is the file's SHA-256."""
    url: str = whisper._MODELS[catalog.canonical_name(name)]
    return url


def official_sha256(name: str) -> str:
    """The checksum of the published file, in hex."""
    return official_url(name).split("/")[-2]


def download(name: str, path: Path, *, timeout: float) -> None:
    """Bring an official model to `path`, whole or not at all. Raises `ModelUnavailable`.

    `timeout` is the longest the network may stay silent, in seconds.
    """
    url = official_url(name)
    logger.info("downloading model %s from %s to %s", name, url, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_whole = _fetch(url, path, official_sha256(name), timeout)
    except (OSError, http.client.HTTPException) as error:
        reason = f"it is not on disk and {url} cannot be downloaded ({error})"
        raise catalog.unavailable(name, path, reason) from error
    if not is_whole:
        raise catalog.unavailable(name, path, f"the download from {url} came damaged")
    logger.info("downloaded model %s", name)


def _fetch(url: str, path: Path, sha256: str, timeout: float) -> bool:
    """Stream `url` into a file beside `path` and rename it if its checksum is right."""
    digest = hashlib.sha256()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with urllib.request.urlopen(url, timeout=timeout) as source, part.open("wb") as output:
            while block := source.read(_BLOCK):
                digest.update(block)
                output.write(block)
        if digest.hexdigest() != sha256:
            return False
        part.replace(path)
        return True
    finally:
        part.unlink(missing_ok=True)
