"""The command `transcribe`: a file to the service, its text back as it is decoded."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from whisper_service.client.display import Display
from whisper_service.client.failure import ClientFailure, ExitCode, Refused, unreachable
from whisper_service.client.key import authorization
from whisper_service.client.output import segment_of, transcript_of
from whisper_service.types import Segment, Transcript

_CONNECT_TIMEOUT = 10.0
_READ_TIMEOUT = 600.0
"""Seconds without a sign of life: a big model on a CPU, at the end of a queue."""

Fields = dict[str, Any]


async def transcribe_file(
    url: str,
    path: Path,
    form: Mapping[str, str],
    display: Display,
    progress: Display,
    *,
    key: str | None = None,
) -> Transcript:
    """Upload `path`, show each segment as it comes, and return them all.

    Raises `ClientFailure`.
    """
    segments: list[Segment] = []
    summary: Fields = {}
    try:
        with path.open("rb") as file:
            progress.status(f"{path.name}: sending {os.fstat(file.fileno()).st_size / 1e6:.1f} MB")
            fields = {**form, "stream": "true"}
            async for name, data in _events(url, path.name, file, fields, key):
                if name == "segment":
                    segments.append(segment_of(data))
                    progress.clear()
                    display.final(data["text"])
                elif name == "progress":
                    progress.status(f"{path.name}: {_progress(data)}")
                elif name == "error":
                    raise Refused(data["error"])
                elif name == "done":
                    summary = data
    except OSError as error:
        raise ClientFailure(f"{path}: {error.strerror}.", ExitCode.UNREADABLE) from None
    finally:
        progress.clear()
    if not summary:
        raise ClientFailure(
            "The service broke off before it was done; try again.", ExitCode.UNREACHABLE
        )
    return transcript_of(segments, summary, task=form.get("task", "transcribe"))


async def _events(
    url: str, name: str, file: Any, form: Mapping[str, str], key: str | None
) -> AsyncIterator[tuple[str, Fields]]:
    """Yield the server-sent events of one upload: name and data."""
    timeout = httpx.Timeout(_READ_TIMEOUT, connect=_CONNECT_TIMEOUT)
    try:
        async with (
            httpx.AsyncClient(timeout=timeout, headers=authorization(key)) as client,
            client.stream(
                "POST", f"{url}/transcribe", data=dict(form), files={"file": (name, file)}
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
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise unreachable(url, error) from None


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
