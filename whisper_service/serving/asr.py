"""WhisperASR: a replica that holds models and decodes. The shell around the engine.

Owns loading, lending and forgetting of models, and the replica's health. Torch is imported when
the first model is loaded, so that whoever builds the application does not pay for it.

Errors of the tree are returned, not raised: as values they cross to the caller as they are, where
Ray would wrap them and Serve would log each wrong model name as a failure of the replica.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakValueDictionary

from ray import serve
from ray.serve.exceptions import RayServeException

from whisper_service.api.log_context import name_session
from whisper_service.engine.worker import DecodeWorker
from whisper_service.errors import InternalError, ModelUnavailable, ServiceError, Unavailable
from whisper_service.models import names
from whisper_service.models.store import ModelStore
from whisper_service.serving import logs
from whisper_service.serving.answer import Answer
from whisper_service.serving.metrics import ENGINE_MEASURES, WINDOW, EngineMeter, RayMetrics
from whisper_service.serving.windows import window_span
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

if TYPE_CHECKING:
    from whisper_service.engine.engine import Engine

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PROBE_AFTER = 10.0
"""Seconds without a success after which a health check decodes: often enough to notice a lost
GPU before many requests do, seldom enough to cost an idle replica next to nothing."""
_PROBE_REST = 50.0
"""And at least this many times what the last such decode took: 2 % of an idle device at the most,
also where that is a CPU and the model a big one."""
_PROBE_WAIT = 5.0
"""Seconds a health check waits for its decode before it lets the next check look again; far below
Serve's `health_check_timeout_s`, so that a big model on a slow CPU is not taken for dead."""
_PRELOAD_RETRY = 15.0
"""Seconds between two tries to load a model that could not be had: an operator who has put the
file in its place waits no longer than that."""

_STAND_IN_RETRY = 30.0
"""Seconds between two tries to get the default model while `demo` answers in its place."""

LEAST_DRIVER = {"13": 580, "12": 525}
"""NVIDIA's driver that a major version of CUDA needs at the least ("CUDA Toolkit Release Notes",
minimum required driver version for CUDA minor version compatibility)."""

_LATEST = 100
"""Windows whose times `stats` tells."""
_LOAD_SHARE = 0.8
"""Part of `decode_timeout` a request waits for its model to load: the rest is for the answer to
get back before the caller gives up, so that it says what the matter is."""


class WhisperASR:
    """Decodes windows with the model each asks for."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, settings: Settings, missing: Mapping[str, str] | None = None
    ) -> None:
        """`missing`: models that could not be had a moment ago, and why; they are not asked for
        again at once. Raises RuntimeError where Ray has given it a GPU that cannot be used."""
        logs.use_serve_handlers(settings)
        if settings.asr_num_gpus and settings.device != "cpu":
            await asyncio.to_thread(_require_cuda)
        self._settings = settings
        self._store = ModelStore.of(settings)
        self._default = self._store.canonical(settings.default_model)
        self._preloaded = [self._store.canonical(name) for name in settings.models_to_preload]
        self._missing = dict(missing or {})
        self._stand_in_reason: str | None = None
        self._second_try: asyncio.Task[None] | None = None
        self._metrics = RayMetrics([WINDOW, *ENGINE_MEASURES])
        self._tracer = make_tracer(settings)
        self._replica = _replica_name()
        self._worker = DecodeWorker(
            max_batch_size=settings.max_batch_size,
            batch_wait=settings.batch_wait,
            # Serve's `max_ongoing_requests` is the limit that callers meet; this one holds if a
            # config file has raised that and forgotten the setting.
            max_queued=4 * settings.asr_max_requests,
            meter=EngineMeter(self._metrics),
        )
        self._resident: WeakValueDictionary[str, Engine] = WeakValueDictionary()
        self._loads: dict[str, asyncio.Task[Engine]] = {}
        self._get_engine = _multiplexed(self._load, settings.max_loaded_models)
        self._not_ready: ServiceError | None = None
        self._retry_at = 0.0
        self._probe: Future[None] | None = None
        self._probe_took = 0.0
        self._n_windows = self._n_done = 0
        self._latest: deque[float] = deque(maxlen=_LATEST)
        await self._preload()

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
        return await _as_value(asyncio.to_thread(self._models, dict(self._resident)))

    async def check(self) -> ServiceError | None:
        """Answer None if a model is loaded and decodes, else the reason why not."""
        return await _as_value(self._check())

    async def stats(self) -> DecoderStats:
        """Say what this replica is doing; never an error."""
        return DecoderStats(
            replica=self._replica,
            models=tuple(self._resident),
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
        if not self._worker.is_alive:
            raise RuntimeError("the decoding thread has ended")
        busy_since = self._worker.busy_since
        if busy_since is not None:
            self._refuse_if_stuck(busy_since)
        elif self._resident and not self._succeeded_lately():
            await self._decode_probe()

    def __del__(self) -> None:
        """Serve calls this when the replica ends."""
        if second_try := getattr(self, "_second_try", None):
            second_try.cancel()
        if worker := getattr(self, "_worker", None):
            worker.close(timeout=1.0)

    # --- work

    async def _decode(self, model_size: str, job: DecodeJob) -> Answer:
        name_session(job.session_id)
        began = time.monotonic()
        self._n_windows += 1
        try:
            engine = await self._engine(model_size)
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
        engine = await self._engine(model_size)
        return await asyncio.wrap_future(self._worker.call(lambda: engine.detect_language(audio)))

    def _models(self, resident: "dict[str, Engine]") -> list[ModelStatus]:
        listed = self._store.statuses(resident.keys())
        return [
            self._as_stand_in(_as_loaded(status, resident.get(names.canonical_name(status.name))))
            for status in listed
        ]

    def _as_stand_in(self, status: ModelStatus) -> ModelStatus:
        if status.name != names.DEMO or self._stand_in_reason is None:
            return status
        return replace(status, stands_in_for=self._default, reason=self._stand_in_reason)

    # --- models

    async def _engine(self, model_size: str) -> "Engine":
        """Lend the model, loaded first if need be. Raises `UnknownModel`, `ModelUnavailable`.

        The caller's reference is the lease: a model that is unloaded meanwhile, because another
        one was asked for, lives until the last decode with it is done. A load goes on when its
        caller goes away; Serve's multiplexer loses count of a load that is cancelled.
        """
        name = names.canonical_name(model_size)
        loading = self._loading(name)
        try:
            async with asyncio.timeout(self._settings.decode_timeout * _LOAD_SHARE):
                return await asyncio.shield(loading)
        except TimeoutError:
            raise ModelUnavailable(
                f"Model {name!r} is still being loaded; try again.",
                retry_after=_PRELOAD_RETRY,
                model=name,
            ) from None

    def _loading(self, name: str) -> "asyncio.Task[Engine]":
        """The load of a model that is under way, begun now if need be."""
        if name not in self._resident:
            # Serve forgets the oldest model before it loads the next. A name that cannot be had
            # must not cost a model that is in use.
            self._store.require(name)
        task = self._loads.get(name)
        if task is None:
            task = self._loads[name] = asyncio.create_task(self._prepare(name))
            task.add_done_callback(lambda done: self._loaded(name, done))
        return task

    def _loaded(self, name: str, task: "asyncio.Task[Engine]") -> None:
        self._loads.pop(name, None)
        if not task.cancelled():
            task.exception()  # all who waited may be gone; then nobody else looks at it

    async def _prepare(self, name: str) -> "Engine":
        if name not in self._resident:
            await asyncio.to_thread(self._store.ensure, name)
        return await self._get_engine(name)

    async def _load(self, name: str) -> "Engine":
        """Load and warm up a model off the loop; what Serve's multiplexer calls."""
        began = time.monotonic()
        logger.info("loading model %s", name)
        engine = await asyncio.to_thread(self._load_engine, name)
        await asyncio.wrap_future(self._worker.call(lambda: self._warm_up(engine)))
        self._resident[name] = engine
        if name == self._default:
            self._stand_in_reason = None
        logger.info(
            "model %s is ready after %.1f s, with %.0f MiB for the keys and values of its windows",
            name,
            time.monotonic() - began,
            engine.cache_bytes / 2**20,
        )
        return engine

    def _warm_up(self, engine: "Engine") -> None:
        """On the decoding thread: OpenMP's number of threads is the calling thread's own, and with
        more of them than cores they spend their time waiting for each other."""
        import torch

        torch.set_num_threads(math.ceil(self._settings.asr_num_cpus or 1))
        engine.warm_up()

    def _load_engine(self, name: str) -> "Engine":
        from whisper_service.engine.engine import engine_from

        return engine_from(
            name,
            self._store.ensure(name),  # `_prepare` has brought it
            device=self._settings.device,
            dtype=self._settings.dtype,
            max_batch_size=self._settings.max_batch_size,
        )

    async def _preload(self) -> None:
        """Load the models of the settings. One that cannot be had leaves a replica that says so:
        a replica that ended would be started again and again, and say nothing to a client."""
        for name in self._preloaded:
            try:
                await self._first_engine(name)
            except ServiceError as error:
                logger.error("cannot preload model %s: %s", name, error.message)
                self._note_failure(error)
                if name == self._default:
                    await self._load_stand_in(error)

    async def _first_engine(self, name: str) -> "Engine":
        if reason := self._missing.pop(name, None):
            raise ModelUnavailable(reason, model=name)
        # However long a download takes: a source that stands still gives up by itself.
        return await asyncio.shield(self._loading(name))

    async def _load_stand_in(self, error: ServiceError) -> None:
        """Let `demo` answer where the default model can be had from no source."""
        if not self._settings.demo_fallback or not isinstance(error, ModelUnavailable):
            return
        try:
            await self._engine(names.DEMO)
        except ServiceError as problem:
            logger.error("cannot load %s in its place: %s", names.DEMO, problem.message)
            return
        logger.warning("%s answers in place of %s: %s", names.DEMO, self._default, names.DEMO_NOTE)
        self._stand_in_reason = error.message
        self._second_try = asyncio.create_task(self._try_again())

    async def _try_again(self) -> None:
        """Ask for the default model now and then, until it comes."""
        while self._stand_in_reason is not None:
            await asyncio.sleep(_STAND_IN_RETRY)
            try:
                await self._first_engine(self._default)
            except ServiceError as error:
                self._stand_in_reason = error.message

    def _note_failure(self, error: ServiceError) -> None:
        self._not_ready = error
        self._retry_at = time.monotonic() + _PRELOAD_RETRY

    # --- health

    async def _check(self) -> None:
        if not self._resident:
            await self._preload_again()
        if not self._succeeded_lately() and self._worker.busy_since is None:
            await self._decode_probe()

    async def _preload_again(self) -> None:
        if self._not_ready is not None and time.monotonic() < self._retry_at:
            raise _not_ready(self._not_ready)
        try:
            await self._engine(self._preloaded[0])
        except ServiceError as error:
            self._note_failure(error)
            raise _not_ready(error) from error

    def _succeeded_lately(self) -> bool:
        success = self._worker.last_success
        rest = max(_PROBE_AFTER, _PROBE_REST * self._probe_took)
        return success is not None and time.monotonic() - success < rest

    def _refuse_if_stuck(self, since: float) -> None:
        """A replica that is replaced within `decode_timeout` loses nothing: whoever waits for its
        windows sends them to another."""
        limit = self._settings.stuck_timeout
        if time.monotonic() - since > limit:
            raise RuntimeError(f"one step of decoding has taken more than {limit:g} s")

    async def _decode_probe(self) -> None:
        """Decode a moment of sound; raises what that raises. A slow one is asked for later."""
        if self._probe is None or self._probe.done():
            engine = next(iter(self._resident.values()), None)
            if engine is None:
                return
            self._probe = self._worker.call(lambda: self._time_probe(engine))
        with suppress(TimeoutError):  # the next check finds the replica busy, and for how long
            async with asyncio.timeout(_PROBE_WAIT):
                await asyncio.shield(asyncio.wrap_future(self._probe))

    def _time_probe(self, engine: "Engine") -> None:
        began = time.monotonic()
        engine.warm_up()
        self._probe_took = time.monotonic() - began


def _require_cuda() -> None:
    """Raise RuntimeError, with the reason, unless torch can use a GPU.

    A replica that decoded on the CPUs of a paid GPU node instead would look ready and be slow.
    """
    import torch

    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:  # the latter: torch's build has no CUDA
        cuda = torch.version.cuda
        least = LEAST_DRIVER.get(cuda.partition(".")[0]) if cuda else None
        needs = f", which needs NVIDIA's driver {least} or newer on the node" if least else ""
        raise RuntimeError(
            f"WhisperASR has been given a GPU and cannot use it: {str(error).rstrip('.')}."
            f" torch {torch.__version__} is built {f'for CUDA {cuda}' if cuda else 'without CUDA'}"
            f"{needs}. To decode on the CPU on purpose, set WHISPER_DEVICE=cpu."
        ) from None


def _multiplexed(
    load: Callable[[str], Awaitable["Engine"]], max_models: int
) -> Callable[[str], Awaitable["Engine"]]:
    """Serve's model multiplexing with a bound that is known only at run time.

    As a decorator on a method it would take a constant. -> an async function of its own, which
    Serve keeps its state on.
    """

    async def load_model(model_id: str) -> "Engine":
        return await load(model_id)

    wrapped = serve.multiplexed(max_num_models_per_replica=max_models)(load_model)
    return cast("Callable[[str], Awaitable[Engine]]", wrapped)


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


def _not_ready(reason: ServiceError) -> Unavailable:
    details: dict[str, Any] = reason.details
    return Unavailable(
        f"No model is loaded. {reason.message}", retry_after=_PRELOAD_RETRY, **details
    )


def _as_loaded(status: ModelStatus, engine: "Engine | None") -> ModelStatus:
    """Replace what the name suggests by what the loaded model says."""
    if engine is None:
        return status
    return replace(status, is_multilingual=engine.is_multilingual, n_parameters=engine.n_parameters)
