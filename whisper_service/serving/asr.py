"""WhisperASR: a replica that holds models and decodes. The shell around the engine.

Errors of the tree are returned, not raised: as values they cross to the caller as they are, where
Ray would wrap them and Serve would log each wrong model name as a failure of the replica.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Mapping
from typing import TypeVar, cast

import ray
from ray import serve
from ray.serve.exceptions import RayServeException

from whisper_service.api.log_context import name_session
from whisper_service.engine.worker import DecodeWorker
from whisper_service.errors import InternalError, ServiceError
from whisper_service.models import names
from whisper_service.serving import logs
from whisper_service.serving.answer import Answer
from whisper_service.serving.cuda import require_cuda
from whisper_service.serving.health_probe import HealthProbe
from whisper_service.serving.limiter import max_windows
from whisper_service.serving.metrics import ENGINE_MEASURES, WINDOW, EngineMeter, RayMetrics
from whisper_service.serving.model_loader import ModelLoader
from whisper_service.serving.window_spans import window_span
from whisper_service.settings import Settings
from whisper_service.tracing import make_tracer
from whisper_service.types import (
    SAMPLE_RATE,
    Audio,
    DecodeJob,
    DecoderStats,
    LanguageDetection,
    ModelStatus,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LATEST = 100
"""Windows whose times `stats` tells."""


class WhisperASR:
    """Decodes windows with the model each asks for."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, settings: Settings, missing: Mapping[str, str] | None = None
    ) -> None:
        """`missing`: models that could not be had a moment ago, and why; they are not asked for
        again at once. Raises RuntimeError where Ray has given it a GPU that cannot be used."""
        logs.use_serve_handlers(settings)
        given = _assigned_resources()
        if given is not None:
            settings = _as_given(settings, given)
            if given.get("GPU") and settings.device != "cpu":
                await asyncio.to_thread(require_cuda)
        self._settings = settings
        self._metrics = RayMetrics([WINDOW, *ENGINE_MEASURES])
        self._tracer = make_tracer(settings)
        self._replica = _replica_name()
        self._worker = DecodeWorker(
            max_batch_size=settings.max_batch_size,
            # Serve's `max_ongoing_requests` is the limit that callers meet; this one holds if a
            # config file has raised that beyond all measure.
            max_queued=4 * max_windows(settings),
            meter=EngineMeter(self._metrics),
        )
        self._loader = ModelLoader(settings, self._worker, missing or {})
        self._probe = HealthProbe(self._worker, settings.stuck_timeout)
        self._n_windows = self._n_done = 0
        self._latest: deque[float] = deque(maxlen=_LATEST)
        await self._loader.preload()

    async def decode(self, model_size: str, job: DecodeJob) -> Answer | ServiceError:
        """Decode one window with the model `model_size`."""
        return await _as_value(self._decode(model_size, job))

    async def detect_language(
        self, model_size: str, audio: Audio
    ) -> LanguageDetection | ServiceError:
        """Say which language the first 30 s of `audio` are in."""
        return await _as_value(self._detect_language(model_size, audio))

    async def models(self) -> list[ModelStatus] | ServiceError:
        """List the models that can be asked for, with what is known of those loaded here."""
        return await _as_value(self._loader.statuses())

    async def check(self) -> ServiceError | None:
        """Answer None if a model is loaded and decodes, else the reason why not."""
        return await _as_value(self._check())

    async def stats(self) -> DecoderStats:
        """Say what this replica is doing; never an error."""
        return DecoderStats(
            replica=self._replica,
            models=tuple(self._loader.resident),
            windows_now=self._n_windows,
            windows_done=self._n_done,
            window_seconds=tuple(self._latest),
            max_batch_size=self._settings.max_batch_size,
        )

    async def check_health(self) -> None:
        """Serve's health check: raises if this replica has to be replaced.

        A replica at work is healthy; an idle one decodes a moment of sound. One that has no model
        for want of weights is healthy too: a new one would not find them either.
        """
        self._probe.refuse_if_stuck()
        await self._probe.decode_if_idle(self._loader.any_resident())

    def __del__(self) -> None:
        """Serve calls this when the replica ends."""
        if loader := getattr(self, "_loader", None):
            loader.close()
        if worker := getattr(self, "_worker", None):
            worker.close(timeout=1.0)

    async def _decode(self, model_size: str, job: DecodeJob) -> Answer:
        name_session(job.session_id)
        began = time.monotonic()
        self._n_windows += 1
        try:
            engine = await self._loader.lend(model_size)
            with window_span(self._tracer, engine.name, job) as request:
                # Cancelling the call cancels the future, which drops the job if it has not begun.
                hypothesis = await asyncio.wrap_future(self._worker.submit(engine, request))
        finally:
            self._n_windows -= 1
        self._note(names.canonical_name(model_size), job, time.monotonic() - began)
        return Answer(hypothesis, self._replica)

    def _note(self, model: str, job: DecodeJob, took: float) -> None:
        self._n_done += 1
        self._latest.append(took)
        self._metrics.record(WINDOW, took, model=model)
        seconds = len(job.audio) / SAMPLE_RATE
        logger.debug("%s: %.1f s of %s audio in %.3f s", model, seconds, job.priority, took)

    async def _detect_language(self, model_size: str, audio: Audio) -> LanguageDetection:
        engine = await self._loader.lend(model_size)
        return await asyncio.wrap_future(self._worker.call(lambda: engine.detect_language(audio)))

    async def _check(self) -> None:
        await self._loader.require_one()
        await self._probe.decode_if_idle(self._loader.any_resident())


def _assigned_resources() -> Mapping[str, float] | None:
    """What Ray has given this replica, such as `{"CPU": 2.0, "GPU": 1.0}`; None outside of Ray."""
    try:
        serve.get_replica_context()
    except RayServeException:
        return None
    return cast("Mapping[str, float]", ray.get_runtime_context().get_assigned_resources())


def _as_given(settings: Settings, given: Mapping[str, float]) -> Settings:
    """The settings with the cores of the replica, and without a GPU it was not given."""
    is_without_gpu = settings.device == "auto" and not given.get("GPU")
    return settings.model_copy(
        update={
            "asr_num_cpus": given.get("CPU") or settings.asr_num_cpus,
            "device": "cpu" if is_without_gpu else settings.device,
        }
    )


def _replica_name() -> str:
    try:
        return str(serve.get_replica_context().replica_id.unique_id)
    except RayServeException:  # in a test or a notebook there is no replica
        return "local"


async def _as_value(answer: Awaitable[T]) -> T | ServiceError:
    """Turn an error into a value; a bug into `InternalError`, with its traceback in the log."""
    try:
        return await answer
    except ServiceError as error:
        return error
    except Exception:
        logger.exception("a call to WhisperASR failed")
        return InternalError()
