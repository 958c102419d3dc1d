"""The application: WhisperService with WhisperASR injected, both as the settings have them.

The names of the deployments are those of the classes; a Serve config file can override every
option below under `deployments: [{name: WhisperASR, ...}]`.
"""

import os
import secrets
from collections.abc import Callable, Mapping

import ray
from ray import serve
from ray.experimental import internal_kv
from ray.serve import Application
from ray.serve.config import AutoscalingConfig

from whisper_service.api.files.transcription import WINDOWS_IN_FLIGHT
from whisper_service.errors import ModelUnavailable, ServiceError
from whisper_service.keys.configured import check_access
from whisper_service.models import names
from whisper_service.models.store import ModelStore
from whisper_service.serving import logs
from whisper_service.serving.asr import WhisperASR
from whisper_service.serving.limiter import max_windows
from whisper_service.serving.service import WhisperService
from whisper_service.settings import Settings
from whisper_service.tracing import check_tracing

_HEALTH_CHECK_PERIOD = 1.0
"""Seconds. Serve notices a dead replica only here; with its default of 10 s a window that was on
it waits up to 10 s for another, with 1 s up to 2 s (measured)."""
_HEALTH_CHECK_TIMEOUT = 30.0
"""Seconds, Serve's default; WhisperASR answers within 5."""
_SHUTDOWN_POLL = 0.5
"""Seconds between Serve's looks at whether a stopping replica is idle."""
_MANY_CORES = 4
SERVICE_CPUS = 0.5
"""Of a WhisperService replica. Where cores are few, torch's last thread shares one with it."""
_MAX_REQUESTS = 1000
"""Requests and sockets that Serve lets into a WhisperService replica: far above `max_streams` and
`max_uploads`, which answer with an error where this limit would let callers hang."""
_KEY_NAME = b"whisper-streaming:resume-key"


def build(settings: Settings, missing: Mapping[str, str] | None = None) -> Application:
    """Bind both deployments; raises `KeysError` where keys are required and none are given, and
    `TracingError` where spans could not be sent.

    `missing`: of `fetch_models`, so that a replica does not wait for them once more.
    """
    check_access(settings)
    check_tracing(settings)
    settings = settings.model_copy(update={"resume_key": settings.resume_key or cluster_key()})
    asr = _asr_deployment(settings, gpus_there(settings)).bind(settings, missing)
    return _service_deployment(settings).bind(settings, asr)


def fetch_models(settings: Settings, announce: Callable[[str], None]) -> dict[str, str]:
    """Bring the models that are loaded first to this machine; -> those that cannot be had, and why.

    For a service on one machine: a person who waits sees a bar, and a replica only logs. Blocks.
    """
    store, missing = ModelStore.of(settings), {}
    for name in map(store.canonical, settings.models_to_preload):
        try:
            if store.require(name) is None:
                announce(f"Downloading model {name}.")
            weights = store.ensure(name)
        except ModelUnavailable as error:
            missing[name] = error.message
            announce(error.message)
        except ServiceError as error:  # a name that nobody has: the replica finds that out itself
            announce(error.message)
        else:
            announce(f"Loading model {name} from {weights.path}.")
    return missing


def stand_in_line(settings: Settings, missing: Mapping[str, str]) -> str | None:
    """Say that `demo` answers in place of the default model, in one sentence; None if not so."""
    default = ModelStore.of(settings).canonical(settings.default_model)
    if default not in missing or not settings.demo_fallback:
        return None
    return f"`demo` answers in place of `{default}`. {names.DEMO_NOTE}"


def cluster_key() -> str:
    """A key that signs resume tokens for as long as the Ray cluster lives.

    The application is built again whenever its arguments change, and streams that the change
    breaks come back with tokens of the build before. So the first key made is kept in Ray's own
    store, which all nodes share.
    """
    key = secrets.token_hex(32)
    if not ray.is_initialized():
        return key
    internal_kv._internal_kv_put(_KEY_NAME, key.encode(), overwrite=False)
    return str(internal_kv._internal_kv_get(_KEY_NAME).decode())


def cpus_per_replica(settings: Settings, n_gpus: int) -> float:
    """Cores for a WhisperASR replica: of the settings, else by the machine.

    With a GPU the work is there. Without one it is torch's threads, and one core stays free for
    sockets and ffmpeg, but for machines on which that would be a large part: there they share.
    """
    if settings.asr_num_cpus:
        return settings.asr_num_cpus
    if n_gpus:
        return 1
    cores = os.cpu_count() or 1
    return cores - SERVICE_CPUS if 1 < cores < _MANY_CORES else max(1, cores - 1)


def gpus_there(settings: Settings) -> int:
    """GPUs that WhisperASR may have of those Ray has now.

    For a cluster that adds its GPU nodes later, the Serve config says what a replica needs.
    """
    if settings.device == "cpu" or not ray.is_initialized():
        return 0
    return int(ray.cluster_resources().get("GPU", 0))


def _asr_deployment(settings: Settings, n_gpus: int) -> serve.Deployment:
    """A replica for each GPU, as they are needed; one where there is none."""
    return serve.deployment(
        WhisperASR,
        name="WhisperASR",
        ray_actor_options={
            "num_cpus": cpus_per_replica(settings, n_gpus),
            "num_gpus": min(1, n_gpus),
        },
        autoscaling_config=AutoscalingConfig(
            min_replicas=1,
            max_replicas=max(1, n_gpus),
            target_ongoing_requests=settings.max_batch_size,
        ),
        max_ongoing_requests=max_windows(settings),
        # All windows that one WhisperService replica can have: it never waits in vain.
        max_queued_requests=settings.max_uploads * WINDOWS_IN_FLIGHT + settings.max_streams,
        health_check_period_s=_HEALTH_CHECK_PERIOD,
        health_check_timeout_s=_HEALTH_CHECK_TIMEOUT,
        graceful_shutdown_timeout_s=settings.drain_timeout,
        graceful_shutdown_wait_loop_s=_SHUTDOWN_POLL,
        # Its calls are windows, many a request.
        logging_config=logs.logging_config(settings, has_access_log=False),
    )


def _service_deployment(settings: Settings) -> serve.Deployment:
    return serve.deployment(
        WhisperService,
        name="WhisperService",
        ray_actor_options={"num_cpus": SERVICE_CPUS},
        autoscaling_config=AutoscalingConfig(
            min_replicas=1,
            max_replicas=1,
            target_ongoing_requests=max(1, settings.max_streams // 2),
        ),
        max_ongoing_requests=_MAX_REQUESTS,
        health_check_period_s=_HEALTH_CHECK_PERIOD,
        health_check_timeout_s=_HEALTH_CHECK_TIMEOUT,
        graceful_shutdown_timeout_s=settings.drain_timeout,
        graceful_shutdown_wait_loop_s=_SHUTDOWN_POLL,
        # By default the old replica stops before the new one starts.
        max_surge_percent=100,
        logging_config=logs.logging_config(settings),
    )
