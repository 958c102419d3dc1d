"""WhisperService: the ingress, a FastAPI application over WhisperASR. Never imports torch."""

from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from whisper_service.api.metrics import JOB_MEASURES, STREAM_MEASURES, UPLOAD_MEASURES
from whisper_service.serving import logs
from whisper_service.serving.draining import is_draining
from whisper_service.serving.metrics import RayMetrics
from whisper_service.serving.remote_decoder import RemoteDecoder
from whisper_service.settings import Settings
from whisper_service.tracing import make_tracer


@serve.ingress()
class WhisperService:
    """Builds the application inside the replica, where nothing of it has to be pickled."""

    def __init__(self, settings: Settings, asr: DeploymentHandle[Any]) -> None:
        logs.use_serve_handlers(settings)
        self._settings = settings
        self._tracer = make_tracer(settings)
        self._decoder = RemoteDecoder(asr, settings, self._tracer)
        self._metrics = RayMetrics((*STREAM_MEASURES, *UPLOAD_MEASURES, *JOB_MEASURES))

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve once, after the constructor."""
        from whisper_service.api.app import create_app

        return create_app(
            self._settings,
            self._decoder,
            draining=is_draining,
            metrics=self._metrics,
            tracer=self._tracer,
        )

    def check_health(self) -> None:
        """Called by Serve every second; that it can be called is what is checked."""
        self._metrics.refresh()
