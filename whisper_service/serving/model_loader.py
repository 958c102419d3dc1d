"""The models of a WhisperASR replica: loaded when they are asked for, lent, and forgotten.

Torch is imported when the first model is loaded, so that whoever builds the application does not
pay for it.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from ray import serve

from whisper_service.engine.worker import DecodeWorker
from whisper_service.errors import ModelUnavailable, ServiceError, Unavailable
from whisper_service.models import names
from whisper_service.models.store import ModelStore
from whisper_service.settings import Settings
from whisper_service.types import ModelStatus

if TYPE_CHECKING:
    from whisper_service.engine.engine import Engine

logger = logging.getLogger(__name__)

_PRELOAD_RETRY = 15.0
"""Seconds between two tries to load a model that could not be had: an operator who has put the
file in its place waits no longer than that."""
_STAND_IN_RETRY = 30.0
"""Seconds between two tries to get the default model while `demo` answers in its place."""
_LOAD_SHARE = 0.8
"""Part of `decode_timeout` a request waits for its model to load: the rest is for the answer to
get back before the caller gives up, so that it says what the matter is."""


class ModelLoader:
    """Models in memory, as many as `max_loaded_models`; the one asked for longest ago goes first.

    `lend` and what it calls run on the event loop, loads in threads, warm-up on the decoding one.
    """

    def __init__(
        self, settings: Settings, worker: DecodeWorker, missing: Mapping[str, str]
    ) -> None:
        """`missing`: models that could not be had a moment ago, and why; they are not asked for
        again at once."""
        self.resident: WeakValueDictionary[str, Engine] = WeakValueDictionary()
        """By name. Who takes one out keeps it in memory."""
        self._settings = settings
        self._worker = worker
        self._missing = dict(missing)
        self._store = ModelStore.of(settings)
        self._default = self._store.canonical(settings.default_model)
        self._preloaded = [self._store.canonical(name) for name in settings.models_to_preload]
        self._loads: dict[str, asyncio.Task[Engine]] = {}
        self._get_engine = _multiplexed(self._load, settings.max_loaded_models)
        self._not_ready: ServiceError | None = None
        self._retry_at = 0.0
        self._stand_in_reason: str | None = None
        self._second_try: asyncio.Task[None] | None = None

    async def lend(self, model_size: str) -> "Engine":
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

    async def preload(self) -> None:
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

    async def require_one(self) -> None:
        """Raise `Unavailable` unless a model is loaded, or can be now."""
        if self.resident:
            return
        if self._not_ready is not None and time.monotonic() < self._retry_at:
            raise _not_ready(self._not_ready)
        try:
            await self.lend(self._preloaded[0])
        except ServiceError as error:
            self._note_failure(error)
            raise _not_ready(error) from error

    def any_resident(self) -> "Engine | None":
        """Some model that is loaded."""
        return next(iter(self.resident.values()), None)

    async def statuses(self) -> list[ModelStatus]:
        """The models that can be asked for, with what is known of those loaded here."""
        return await asyncio.to_thread(self._statuses, dict(self.resident))

    def close(self) -> None:
        """Stop to ask for the default model."""
        if self._second_try is not None:
            self._second_try.cancel()

    # --- loading

    def _loading(self, name: str) -> "asyncio.Task[Engine]":
        """The load of a model that is under way, begun now if need be."""
        if name not in self.resident:
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
        if name not in self.resident:
            await asyncio.to_thread(self._store.ensure, name)
        return await self._get_engine(name)

    async def _load(self, name: str) -> "Engine":
        """Load and warm up a model off the loop; what Serve's multiplexer calls."""
        began = time.monotonic()
        logger.info("loading model %s", name)
        engine = await asyncio.to_thread(self._load_engine, name)
        await asyncio.wrap_future(self._worker.call(lambda: self._warm_up(engine)))
        self.resident[name] = engine
        if name == self._default:
            self._stand_in_reason = None
        logger.info(
            "model %s is ready after %.1f s, with %.0f MiB for the keys and values of its windows",
            name,
            time.monotonic() - began,
            engine.cache_bytes / 2**20,
        )
        return engine

    def _load_engine(self, name: str) -> "Engine":
        from whisper_service.engine.engine import engine_from

        return engine_from(
            name,
            self._store.ensure(name),  # `_prepare` has brought it
            device=self._settings.device,
            dtype=self._settings.dtype,
            max_batch_size=self._settings.max_batch_size,
        )

    def _warm_up(self, engine: "Engine") -> None:
        """On the decoding thread: OpenMP's number of threads is the calling thread's own, and with
        more of them than cores they spend their time waiting for each other."""
        import torch

        torch.set_num_threads(math.ceil(self._settings.asr_num_cpus or 1))
        engine.warm_up()

    # --- what cannot be had

    async def _first_engine(self, name: str) -> "Engine":
        if reason := self._missing.pop(name, None):
            raise ModelUnavailable(reason, model=name)
        # However long a download takes: a source that stands still gives up by itself.
        return await asyncio.shield(self._loading(name))

    def _note_failure(self, error: ServiceError) -> None:
        self._not_ready = error
        self._retry_at = time.monotonic() + _PRELOAD_RETRY

    async def _load_stand_in(self, error: ServiceError) -> None:
        """Let `demo` answer where the default model can be had from no source."""
        if not self._settings.demo_fallback or not isinstance(error, ModelUnavailable):
            return
        try:
            await self.lend(names.DEMO)
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

    # --- what is listed

    def _statuses(self, resident: "dict[str, Engine]") -> list[ModelStatus]:
        listed = self._store.statuses(resident.keys())
        return [
            self._as_stand_in(_as_loaded(status, resident.get(names.canonical_name(status.name))))
            for status in listed
        ]

    def _as_stand_in(self, status: ModelStatus) -> ModelStatus:
        if status.name != names.DEMO or self._stand_in_reason is None:
            return status
        return replace(status, stands_in_for=self._default, reason=self._stand_in_reason)


def _as_loaded(status: ModelStatus, engine: "Engine | None") -> ModelStatus:
    """Replace what the name suggests by what the loaded model says."""
    if engine is None:
        return status
    return replace(status, is_multilingual=engine.is_multilingual, n_parameters=engine.n_parameters)


def _not_ready(reason: ServiceError) -> Unavailable:
    details: dict[str, Any] = reason.details
    return Unavailable(
        f"No model is loaded. {reason.message}", retry_after=_PRELOAD_RETRY, **details
    )


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
