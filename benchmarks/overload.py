"""More uploads than the service can do: do those it takes keep their latency, are the rest told?

    python -m benchmarks.overload --seconds 120 --times 5 --json FILE

Starts the service with `demo` grown to a true size. First as many clients as windows are decoded
together send a recording again and again: capacity, and the latency there. Then the same recording
is sent on an absolute schedule at a multiple of that rate, whatever comes back. The clients run on
the same cores.
"""

import argparse
import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np

from benchmarks.grow import SIZES, grown_checkpoint, model_folder
from benchmarks.local_service import local_service
from benchmarks.speech_track import as_wav, make_track
from whisper_service.settings import Settings

CLIP_SECONDS = 8
TIMEOUT = 300.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What one upload got."""

    status: int
    """0 where the connection broke."""
    seconds: float
    text: str = ""
    has_retry_after: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """The figures of a run; all times in seconds."""

    capacity: float
    """Uploads a second."""
    p95_at_capacity: float
    times: float
    """Times the capacity that came."""
    n_admitted: int
    p95_admitted: float
    n_refused: int
    """503 with `Retry-After`."""
    p95_refused: float
    slowest_refusal: float
    others: dict[str, int]
    """Every other status, 0 for a broken connection, and how often."""
    n_wrong: int
    """Admitted, with another text than the first."""


def main() -> None:
    options = _options()
    folder = model_folder()
    size = options.model.removeprefix("demo-")
    grown_checkpoint(size, folder)
    settings = {
        "WHISPER_DEFAULT_MODEL": options.model,
        "WHISPER_MODEL_DIR": str(folder),
        "WHISPER_UPLOAD_ADMISSION_WAIT": str(options.wait),
    }
    with TemporaryDirectory() as name, local_service(settings, Path(name) / "log") as service:
        found = asyncio.run(_measure(service.http, options))
    print(table(found))
    facts = {"model": options.model, "admission_wait": options.wait, "cores": os.cpu_count()}
    if options.json:
        options.json.write_text(json.dumps({**facts, **asdict(found)}, indent=1) + "\n")


async def _measure(url: str, options: argparse.Namespace) -> Found:
    clip = as_wav(make_track(CLIP_SECONDS).pcm)
    no_limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, limits=no_limits) as client:
        first = await _post(client, clip)
        if first.status != 200:
            raise RuntimeError(f"the first upload was answered with {first.status}")
        at_capacity, took = await _closed_loop(client, clip, options.seconds / 2)
        rate = options.times * len(at_capacity) / took
        replies = await _open_loop(client, clip, rate, options.seconds)
    return summarise(at_capacity, took, replies, options.times, first.text)


async def _closed_loop(
    client: httpx.AsyncClient, clip: bytes, seconds: float
) -> tuple[list[Reply], float]:
    """As many at once as are decoded together. -> replies, seconds until the last one."""
    began = time.monotonic()
    replies: list[Reply] = []

    async def keep_sending() -> None:
        while time.monotonic() - began < seconds:
            replies.append(await _post(client, clip))

    async with asyncio.TaskGroup() as group:
        for _ in range(Settings().max_batch_size):
            group.create_task(keep_sending())
    return replies, time.monotonic() - began


async def _open_loop(
    client: httpx.AsyncClient, clip: bytes, rate: float, seconds: float
) -> list[Reply]:
    """An upload every 1/`rate` seconds."""
    began = time.monotonic()
    tasks = []
    for number in range(round(rate * seconds)):
        await asyncio.sleep(began + number / rate - time.monotonic())
        tasks.append(asyncio.create_task(_post(client, clip)))
    return await asyncio.gather(*tasks)


async def _post(client: httpx.AsyncClient, clip: bytes) -> Reply:
    began = time.monotonic()
    try:
        answer = await client.post("/transcribe", files={"file": ("clip.wav", clip)})
    except httpx.HTTPError:
        return Reply(0, time.monotonic() - began)
    seconds = time.monotonic() - began
    text = answer.json()["text"] if answer.status_code == 200 else ""
    return Reply(answer.status_code, seconds, text, "retry-after" in answer.headers)


def summarise(
    at_capacity: Sequence[Reply], took: float, replies: Sequence[Reply], times: float, text: str
) -> Found:
    """Sort what came back. `text` is what every admitted upload says."""
    admitted = [reply for reply in replies if reply.status == 200]
    refused = [reply for reply in replies if reply.status == 503 and reply.has_retry_after]
    statuses = Counter(str(reply.status) for reply in replies)
    statuses.subtract({"200": len(admitted), "503": len(refused)})
    return Found(
        capacity=round(len(at_capacity) / took, 2),
        p95_at_capacity=_p95(at_capacity),
        times=times,
        n_admitted=len(admitted),
        p95_admitted=_p95(admitted),
        n_refused=len(refused),
        p95_refused=_p95(refused),
        slowest_refusal=round(max((reply.seconds for reply in refused), default=0.0), 3),
        others=dict(+statuses),
        n_wrong=sum(reply.text != text for reply in admitted),
    )


def _p95(replies: Sequence[Reply]) -> float:
    seconds = [reply.seconds for reply in replies]
    return round(float(np.percentile(seconds, 95)), 3) if seconds else 0.0


def table(found: Found) -> str:
    """The figures as Markdown."""
    rows = [
        "| | figure |",
        "|---|---|",
        f"| capacity | {found.capacity:g} uploads a second |",
        f"| 95th percentile there | {found.p95_at_capacity:g} s |",
        f"| admitted at {found.times:g} times that | {found.n_admitted} |",
        f"| 95th percentile of those | {found.p95_admitted:g} s |",
        f"| refused with `Retry-After` | {found.n_refused} |",
        f"| 95th percentile of those | {found.p95_refused:g} s |",
        f"| slowest of those | {found.slowest_refusal:g} s |",
        f"| other answers, by status | {found.others or 'none'} |",
        f"| admitted with a wrong text | {found.n_wrong} |",
    ]
    return "\n".join(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--model", default="demo-base", choices=[f"demo-{size}" for size in SIZES])
    parser.add_argument("--seconds", type=float, default=120.0, help="of overload")
    parser.add_argument("--times", type=float, default=5.0, help="the capacity")
    parser.add_argument("--wait", type=float, default=1.0, help="upload_admission_wait, in seconds")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
