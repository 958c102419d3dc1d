"""RemoteDecoder: the API's `Decoder` over a handle to WhisperASR.

Serve never sends a request again that a replica had accepted, so this does: a window is kept until
it is answered, and decoding it twice does no harm. Everything that can go wrong on the way becomes
an error of the tree.
"""

import asyncio
import logging
import math
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Any, cast

from opentelemetry.trace import NoOpTracer, SpanKind, Tracer
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from whisper_service.api.decoder import MODELS_MAX_AGE
from whisper_service.api.log_context import current_session
from whisper_service.errors import (
    RETRY_AFTER,
    InternalError,
    Overloaded,
    Restarting,
    ServiceError,
    TimedOut,
    Unavailable,
)
from whisper_service.models import names
from whisper_service.serving.answer import Answer
from whisper_service.serving.limiter import FileWindowLimiter
from whisper_service.serving.presence import LOOK_EVERY, Presence, counter
from whisper_service.serving.window_spans import job_attributes
from whisper_service.settings import Settings
from whisper_service.tracing import current_parent
from whisper_service.types import (
    Audio,
    DecodeJob,
    DecoderStats,
    Hypothesis,
    LanguageDetection,
    ModelStatus,
)

logger = logging.getLogger(__name__)

_CHECK_TIMEOUT = 5.0
"""Seconds a readiness answer may take; probes commonly wait 1 to 10."""
_ASK_AGAIN = 10.0
"""Seconds after a list of models that nobody gave, for which an older one has to do: each request
would else wait for the same silence."""
_PROVEN_FOR = 10.0
"""Seconds for which an answered window proves WhisperASR ready, so that a busy service does not
look broken because its readiness check waits in the same queue."""

RETRIES = 3
"""Times a window is sent again after the replica that had it died."""


class RemoteDecoder:
    """Implements `api.decoder.Decoder`. One per WhisperService replica."""

    def __init__(
        self,
        asr: DeploymentHandle[Any],
        settings: Settings,
        tracer: Tracer | None = None,
        presence: Presence | None = None,
    ) -> None:
        self._asr = asr
        self._presence = presence or Presence(counter(asr))
        self._settings = settings
        self._tracer = tracer or NoOpTracer()
        # Files keep every replica's running and next batch full and no more. The rest waits here,
        # without a deadline, and a live window does not queue behind it at the replica.
        self._file_windows = FileWindowLimiter(2 * settings.max_batch_size)
        self._models: list[ModelStatus] = []
        self._models_at = -math.inf
        self._ask_for_models_at = -math.inf
        self._models_lock = asyncio.Lock()
        self._proven_at = -_PROVEN_FOR

    async def decode(self, model_size: str, job: DecodeJob) -> Hypothesis:
        """Decode one window, again if the replica that had it dies."""
        limit = self._settings.decode_timeout
        permit: AbstractAsyncContextManager[None]
        permit = self._file_windows.permit() if job.priority == "file" else nullcontext()
        job = replace(job, session_id=current_session())
        with self._tracer.start_as_current_span(
            "WhisperASR.decode", kind=SpanKind.CLIENT, attributes=job_attributes(job)
        ):
            async with permit:
                if job.deadline is None:  # after it nobody waits any more
                    job = replace(job, deadline=time.time() + limit)
                job = replace(job, trace_parent=current_parent())
                answer: Answer = await self._call("decode", model_size, job, limit=limit)
        self._file_windows.answered(answer.replica)
        self._proven_at = time.monotonic()
        return answer.hypothesis

    async def detect_language(self, model_size: str, audio: Audio) -> LanguageDetection:
        """Say which language the first 30 s of `audio` are in."""
        limit = self._settings.decode_timeout
        answer = await self._call("detect_language", model_size, audio, limit=limit)
        return cast("LanguageDetection", answer)

    async def models(self, *, max_age: float = MODELS_MAX_AGE) -> list[ModelStatus]:
        """List every model, as one replica saw it at most `max_age` seconds ago.

        While none answers, as one last did: a stream that comes back then is not turned away.
        """
        async with self._models_lock:
            now = time.monotonic()
            if now - self._models_at >= max_age and now >= self._ask_for_models_at:
                try:
                    self._models = cast("list[ModelStatus]", await self._ask("models"))
                    self._models_at = time.monotonic()
                except Unavailable:
                    if not self._models:
                        raise
                    self._ask_for_models_at = time.monotonic() + _ASK_AGAIN
            return list(self._models)

    async def check(self) -> None:
        """Return if WhisperASR decodes; raise `Unavailable` with the reason if not."""
        if time.monotonic() - self._proven_at < _PROVEN_FOR:
            return
        await self._ask("check")

    async def presence(self) -> None:
        """Return once a replica runs; raise `Unavailable` where none has for long."""
        if time.monotonic() - self._proven_at >= LOOK_EVERY:  # else an answer is as good as a look
            await self._presence.wait()

    async def stats(self) -> DecoderStats:
        """Say what one of the WhisperASR replicas is doing."""
        return cast("DecoderStats", await self._ask("stats"))

    async def _ask(self, method: str) -> Any:
        """Call what is answered at once; raises `Unavailable` if it is not: it can pass."""
        try:
            return await self._call(method, None, limit=_CHECK_TIMEOUT)
        except TimedOut:
            raise Unavailable(
                f"The model server has not answered within {_CHECK_TIMEOUT:g} s; it is starting,"
                " loading a model, or has more to do than it can.",
                retry_after=RETRY_AFTER,
            ) from None

    async def _call(self, method: str, model_size: str | None, *args: Any, limit: float) -> Any:
        """Call WhisperASR and return its answer; raises only errors of the tree."""
        handle = self._asr.options(method_name=method, **_routing(model_size))
        arguments = args if model_size is None else (model_size, *args)
        try:
            async with asyncio.timeout(limit):
                return await self._send(handle, arguments)
        except TimeoutError:
            raise TimedOut(
                f"The model server did not answer within {limit:g} s.", limit=limit
            ) from None
        except BackPressureError:
            raise Overloaded(
                "The model server has more work waiting than it takes; try again.",
                retry_after=RETRY_AFTER,
            ) from None
        except (RayError, RayServeException) as error:
            logger.exception("a call to WhisperASR.%s failed", method)
            raise InternalError() from error

    async def _send(self, handle: DeploymentHandle[Any], arguments: tuple[Any, ...]) -> Any:
        """Send a request until a replica lives long enough to answer it."""
        for attempt in range(RETRIES + 1):
            if attempt:
                logger.warning("a WhisperASR replica went away; sending its work again")
            try:
                answer = await _answer(handle.remote(*arguments))
            except RayActorError:
                self._file_windows.replica_lost()
                continue
            if isinstance(answer, Restarting):
                self._file_windows.replica_lost()
                continue
            if isinstance(answer, ServiceError):
                raise answer
            return answer
        raise Unavailable(
            f"The model server broke down {attempt + 1} times while it worked on this.",
            retry_after=RETRY_AFTER,
        )


async def _answer(response: DeploymentResponse[Any]) -> Any:
    """Await a response; whoever gives it up takes the work off the replica, too."""
    try:
        return await response
    except asyncio.CancelledError:
        response.cancel()
        raise


def _routing(model_size: str | None) -> dict[str, str]:
    """Prefer a replica that has the model; Serve refuses an empty id."""
    if model_size is None or not all(map(names.is_safe_name, model_size.split("/", 1))):
        return {}
    return {"multiplexed_model_id": names.canonical_name(model_size)}
