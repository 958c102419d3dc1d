"""A recording to the service, its text back as it is decoded."""

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, BinaryIO, cast

import httpx

from whisper_service.client.display import Display
from whisper_service.client.failure import ClientFailure, ExitCode, Refused, unreachable
from whisper_service.client.inputs import Input, open_input
from whisper_service.client.key import authorization
from whisper_service.client.output import segment_of, transcript_of
from whisper_service.types import Segment, Transcript

_CONNECT_TIMEOUT = 10.0
_READ_TIMEOUT = 600.0
"""Seconds without a sign of life: a big model on a CPU, at the end of a queue."""

_TOLD_EVERY = 1_000_000
"""Bytes."""

Fields = dict[str, Any]


async def transcribe_input(
    url: str,
    each: Input,
    label: str,
    form: Mapping[str, str],
    display: Display,
    progress: Display,
    *,
    key: str | None = None,
) -> Transcript:
    """Upload it, show each segment as it comes, and return them all.

    `label` stands before what `progress` is told. Raises `ClientFailure`.
    """
    segments: list[Segment] = []
    summary: Fields = {}
    try:
        async with open_input(each) as file:
            sending = _Sending(file, lambda told: progress.status(f"{label}: sending {told}"))
            fields = {**form, "stream": "true"}
            async for name, data in _events(url, each.name, sending, fields, key):
                if name == "segment":
                    segments.append(segment_of(data))
                    progress.clear()
                    display.final(data["text"])
                elif name == "progress":
                    progress.status(f"{label}: {_progress(data)}")
                elif name == "error":
                    raise Refused(data["error"])
                elif name == "done":
                    summary = data
    finally:
        progress.clear()
    if not summary:
        raise ClientFailure(
            "The service broke off before it was done; try again.", ExitCode.UNREACHABLE
        )
    return transcript_of(segments, summary, task=form.get("task", "transcribe"))


class _Sending:
    """A file that tells how much of it was read: what httpx wants of one, and no more."""

    def __init__(self, file: BinaryIO, tell: Callable[[str], None]) -> None:
        self._file = file
        self._tell = tell
        self._n_bytes = os.fstat(file.fileno()).st_size
        self._n_told = -_TOLD_EVERY

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, position: int) -> int:
        return self._file.seek(position)

    def read(self, n_bytes: int) -> bytes:
        data = self._file.read(n_bytes)
        position = self._file.tell()
        if position - self._n_told >= _TOLD_EVERY:
            self._n_told = position
            self._tell(f"{position / 1e6:.1f} of {self._n_bytes / 1e6:.1f} MB")
        return data


async def _events(
    url: str, name: str, file: _Sending, form: Mapping[str, str], key: str | None
) -> AsyncIterator[tuple[str, Fields]]:
    """Yield the server-sent events of one upload: name and data."""
    timeout = httpx.Timeout(_READ_TIMEOUT, connect=_CONNECT_TIMEOUT)
    try:
        async with (
            httpx.AsyncClient(timeout=timeout, headers=authorization(key)) as client,
            client.stream(
                "POST",
                f"{url}/transcribe",
                data=dict(form),
                files={"file": (name, cast(BinaryIO, file))},
            ) as answer,
        ):
            if answer.status_code != 200:
                raise _refused(answer.status_code, await answer.aread())
            event = ""
            async for line in answer.aiter_lines():
                if line.startswith("event:"):
                    event = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    yield event, json.loads(line.removeprefix("data:"))
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL) as error:
        raise unreachable(url, error) from None
    except httpx.TransportError as error:
        raise ClientFailure(
            f"The connection broke: {error or type(error).__name__}.", ExitCode.UNREACHABLE
        ) from None


def _refused(status: int, body: bytes) -> ClientFailure:
    try:
        return Refused(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return ClientFailure(
            f"The service answered {status}; is this the right address?", ExitCode.REFUSED
        )


def _progress(data: Fields) -> str:
    position, duration = data["position"], data["duration"]
    if not duration:
        return f"{position:.0f} s"
    return f"{position:.0f} of {duration:.0f} s ({min(1.0, position / duration):.0%})"
