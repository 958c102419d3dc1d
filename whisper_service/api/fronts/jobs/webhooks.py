"""Tells the receivers of webhooks which jobs have ended.

After Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/):
three headers, of which one signs the message, its id and its time; the message is small, and what
it is about is fetched. Each is sent at least once, with the same id each time.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import random
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import httpx

from whisper_service import __version__
from whisper_service.api.fronts.jobs.destination import Destinations, NotAllowed
from whisper_service.api.fronts.jobs.rounds import Rounds
from whisper_service.api.fronts.jobs.schemas import job_body
from whisper_service.api.http.limits import Limit
from whisper_service.api.metrics import WEBHOOKS, Metrics
from whisper_service.errors import Unavailable
from whisper_service.jobs.job import Job
from whisper_service.jobs.store import JobStore
from whisper_service.settings import Settings

TIMEOUT = 15.0
"""Seconds a receiver may take in all; the spec asks for 15 to 30."""
MAX_AT_ONCE = 8
"""Webhooks on their way: slow receivers are not to hold up the others."""
DELAYS = (5.0, 60.0, 300.0, 1800.0, 2 * 3600.0, 5 * 3600.0)
"""Seconds after each try that failed; with a tenth more or less, so that what failed together does
not come together. After the last one a webhook is given up."""
_GONE = 410
"""By this status a receiver says that it wants no more."""

logger = logging.getLogger(__name__)


class WebhookSender:
    """Sends what is due for as long as its `rounds` run; what was on its way is then sent again."""

    def __init__(self, settings: Settings, store: JobStore, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._secret = _secret(settings.webhook_secret)
        self._destinations = Destinations(settings.webhook_private_networks)
        self._places = Limit(MAX_AT_ONCE, "webhooks")
        # No proxy of the environment: it would resolve names itself. No connection is kept: one
        # address may stand for several hosts, each with a certificate of its own.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.AsyncClient(
            verify=_trust(), trust_env=False, timeout=TIMEOUT, limits=limits
        )
        self.rounds = Rounds(self._look)
        """To be run; to be stirred when a job has ended."""

    async def _look(self, group: asyncio.TaskGroup) -> None:
        while self._places.has_room:
            with ExitStack() as place:
                place.enter_context(self._places.admit())
                job = await asyncio.to_thread(self._store.claim_delivery)
                if job is None:
                    return
                group.create_task(self._deliver(job, place.pop_all()))

    async def _deliver(self, job: Job, place: ExitStack) -> None:
        with place:
            status, problem = await self._try(job)
            try:
                if problem is None:
                    await asyncio.to_thread(self._store.delivered, job)
                else:
                    delay = None if status == _GONE else next_delay(job.n_deliveries)
                    logger.info("The webhook of %s was not delivered: it %s", job.id, problem)
                    await asyncio.to_thread(self._store.not_delivered, job, problem, delay)
            except Unavailable:
                pass
        self._metrics.record(WEBHOOKS, 1, delivery="failed" if problem else "delivered")
        self.rounds.stir()

    async def _try(self, job: Job) -> tuple[int, str | None]:
        """Send once; -> the status, 0 for none, and what was wrong, in words that give away nothing
        about the network here."""
        assert job.webhook_url is not None
        message = json.dumps(message_of(job), ensure_ascii=False).encode()
        headers = sign(self._secret, f"msg_{job.id}", int(time.time()), message)
        try:
            async with asyncio.timeout(TIMEOUT):
                status = await self._post(httpx.URL(job.webhook_url), headers, message)
        except NotAllowed:
            return 0, "leads to an address that webhooks may not go to"
        except TimeoutError:
            return 0, f"did not answer within {TIMEOUT:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError):
            return 0, "could not be reached"
        return status, None if 200 <= status < 300 else f"answered {status}"

    async def _post(self, url: httpx.URL, headers: dict[str, str], message: bytes) -> int:
        """The status; the answer's body is not read, and no redirect is followed."""
        host = url.raw_host.decode()
        port = url.port or (443 if url.scheme == "https" else 80)
        failure: httpx.ConnectError | None = None
        for address in await self._destinations.resolve(host, port):
            request = self._client.build_request(
                "POST",
                url.copy_with(host=address),
                headers={**headers, "Host": url.netloc.decode()},
                content=message,
                extensions={"sni_hostname": host},  # what TLS asks for, and checks
            )
            try:
                response = await self._client.send(request, stream=True)
            except httpx.ConnectError as error:
                failure = error
                continue
            await response.aclose()
            return response.status_code
        assert failure is not None
        raise failure


def message_of(job: Job) -> dict[str, Any]:
    """What a webhook says: the job as GET /jobs/{id} shows it, without its text."""
    body = job_body(job).model_dump(mode="json", exclude={"result", "webhook"})
    ended_at = datetime.fromtimestamp(job.finished_at or 0.0, UTC)
    return {
        "type": f"job.{job.state}",
        "timestamp": ended_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "data": body,
    }


def sign(secret: bytes, message_id: str, timestamp: int, message: bytes) -> dict[str, str]:
    """The headers of a message, one of them its signature (the spec's `v1`, HMAC-SHA256)."""
    signed = f"{message_id}.{timestamp}.".encode() + message
    signature = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    return {
        "Content-Type": "application/json",
        "User-Agent": f"whisper-streaming/{__version__}",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def next_delay(
    n_tries: int, jitter: Callable[[float, float], float] = random.uniform
) -> float | None:
    """Seconds from a failed try to the next; None after the last."""
    if n_tries > len(DELAYS):
        return None
    return DELAYS[n_tries - 1] * jitter(0.9, 1.1)


def _trust() -> ssl.SSLContext:
    """Whose certificates are believed: the system's own list, to which operators add theirs."""
    return ssl.create_default_context()


def _secret(text: str) -> bytes:
    return base64.b64decode(text.removeprefix("whsec_"))
