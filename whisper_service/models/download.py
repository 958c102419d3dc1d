"""One file over HTTP: whole or not at all, continued where an earlier try broke off.

Not openai-whisper's own function: that one has no time limit, so that a network which swallows
packets hangs a replica for ever; it holds the whole file in memory; and it writes to the final
name, so that a broken-off download is found, and refused, by the next start.
"""

import hashlib
from pathlib import Path

import httpx

from whisper_service.models.lock import only_one
from whisper_service.models.progress import Progress, StallGuard
from whisper_service.models.weight_files import FetchError


def download(
    url: str, path: Path, *, sha256: str, max_bytes: int, timeout: float, progress: Progress
) -> None:
    """Bring `url` to `path`. Raises `FetchError`.

    `timeout` is the longest, in seconds, that the network may stay silent or bring next to
    nothing. What came before a failure stays beside `path`, and the next try goes on from there.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with only_one(path, lambda: _size(part), timeout=timeout):
            if path.is_file():  # another process has brought it meanwhile
                return
            is_continued = _size(part) > 0
            _fetch(url, part, max_bytes, timeout, progress)
            if is_continued and not _is_whole(part, sha256):
                part.unlink()  # the earlier part was of something else
                _fetch(url, part, max_bytes, timeout, progress)
            if not _is_whole(part, sha256):
                part.unlink()
                raise FetchError("what came is damaged, or not the file that was published")
            part.replace(path)
    except httpx.HTTPStatusError as error:
        raise FetchError(f"it answered {error.response.status_code}") from error
    except httpx.TimeoutException as error:
        raise FetchError(f"it stayed silent for {timeout:g} s") from error
    except (httpx.HTTPError, OSError) as error:
        raise FetchError(str(error)) from error


def _fetch(url: str, part: Path, max_bytes: int, timeout: float, progress: Progress) -> None:
    """Append to `part` what is missing of `url`."""
    guard = StallGuard(timeout)
    n_had = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={n_had}-"} if n_had else {})
    with httpx.stream(
        "GET", url, headers=headers, timeout=timeout, follow_redirects=True
    ) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is missing
        response.raise_for_status()
        is_continued = response.status_code == httpx.codes.PARTIAL_CONTENT
        n_bytes = n_had if is_continued else 0
        length = response.headers.get("Content-Length")
        total = n_bytes + int(length) if length else None
        with part.open("ab" if is_continued else "wb") as output:
            for block in response.iter_raw():
                output.write(block)
                n_bytes += len(block)
                if n_bytes > max_bytes:
                    output.truncate(0)
                    raise FetchError(f"it sends more than the {max_bytes} bytes it can have")
                guard.check(n_bytes - n_had)
                progress(n_bytes, total)


def _is_whole(part: Path, sha256: str) -> bool:
    with part.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
