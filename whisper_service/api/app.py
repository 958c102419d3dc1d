"""Puts the HTTP and WebSocket service together; the one place that sees all of its parts.

Needs no Ray: tests give it a scripted decoder, serving/ a handle to WhisperASR.
"""

import logging
import secrets
from collections.abc import Callable

from fastapi import FastAPI
from opentelemetry.trace import NoOpTracer, Tracer
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from whisper_service import __version__
from whisper_service.api.access.authentication import Authentication
from whisper_service.api.access.credentials import AnswerSubprotocol, Subprotocol
from whisper_service.api.access.keyring import KeyRing
from whisper_service.api.access.origin import OriginCheck
from whisper_service.api.access.quotas import Quotas
from whisper_service.api.access.tokens import Tokens, tokens_router
from whisper_service.api.catalog import catalog_router
from whisper_service.api.decoder import Decoder
from whisper_service.api.docs import add_docs, describe, tags
from whisper_service.api.files.transcription import Transcriber
from whisper_service.api.fronts import FRONTS
from whisper_service.api.fronts.front import FindFront, Replica
from whisper_service.api.health import health_router
from whisper_service.api.http.errors import CatchErrors, install_error_handlers
from whisper_service.api.http.headers import AnswerHead, StandardHeaders
from whisper_service.api.http.limits import MAX_MESSAGE_BYTES, MIN_RATE, Limit, UploadGuard
from whisper_service.api.http.prefix import PathPrefix
from whisper_service.api.http.tracing import TraceRequests
from whisper_service.api.live.streams import LiveStreams
from whisper_service.api.metrics import Metrics, NoMetrics
from whisper_service.api.page import page_router, sample_router
from whisper_service.api.stats import StatsBoard, stats_router
from whisper_service.keys.configured import check_access, open_access_warning
from whisper_service.settings import Settings

logger = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    decoder: Decoder,
    *,
    draining: Callable[[], bool] = lambda: False,
    metrics: Metrics | None = None,
    tracer: Tracer | None = None,
) -> FastAPI:
    """The whole service. `draining` says whether this replica is going away; without `metrics`,
    what is measured is forgotten; without `tracer` there are no spans.

    Without `settings.resume_key` this app makes its own: streams then resume here only, and tokens
    open this replica only. Reads the keys file; raises `KeysError`.
    """
    key = settings.resume_key or secrets.token_hex()
    board = StatsBoard(metrics or NoMetrics())
    transcriber = Transcriber(settings, decoder, board)
    replica = Replica(
        settings=settings,
        decoder=decoder,
        transcriber=transcriber,
        uploads=Limit(settings.max_uploads, "uploads"),
        streams=LiveStreams(settings, decoder, draining, board),
        metrics=board,
        draining=draining,
        secret=key,
    )
    tokens = Tokens(key)
    app = FastAPI(
        title="Whisper Streaming",
        version=__version__,
        description=describe(FRONTS),
        openapi_tags=tags(FRONTS),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[*_traces(tracer), *_middleware(replica, tokens)],
        # FastAPI's own spans and logs go to the process's global providers, which Ray Serve's
        # tracing sets, whatever `settings.tracing` says; they hold query strings and input.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    install_error_handlers(app)
    for front in FRONTS:
        for router in front.routers(replica):
            app.include_router(router)
    app.include_router(tokens_router(tokens))
    app.include_router(catalog_router(settings, decoder))
    app.include_router(health_router(decoder, draining))
    app.include_router(stats_router(settings, decoder, board))
    app.include_router(sample_router())
    app.include_router(page_router())
    add_docs(app, settings, decoder)
    return app


def _traces(tracer: Tracer | None) -> list[Middleware]:
    """Outside of all else, so that a span lasts as long as its request."""
    if tracer is None or isinstance(tracer, NoOpTracer):
        return []
    return [Middleware(TraceRequests, tracer=tracer)]


def _middleware(replica: Replica, tokens: Tokens) -> list[Middleware]:
    """Outermost first: even a refusal or a bug's answer has the headers that browsers need."""
    settings = replica.settings
    subprotocols = [front.subprotocol for front in FRONTS if front.subprotocol]
    return [
        Middleware(PathPrefix, prefix=settings.root_path),
        Middleware(FindFront, fronts=FRONTS),
        Middleware(StandardHeaders),
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["Location", "Retry-After", "X-Request-ID", "X-Ignored-Fields"],
        ),
        Middleware(AnswerHead),
        Middleware(CatchErrors),
        Middleware(AnswerSubprotocol, subprotocols=subprotocols),
        Middleware(OriginCheck, allowed=settings.cors_origins),
        *_key_checks(settings, tokens, subprotocols),
        Middleware(
            UploadGuard,
            uploads=replica.uploads,
            max_bytes=settings.max_upload_bytes,
            max_other_bytes=MAX_MESSAGE_BYTES,
            timeout=settings.upload_timeout,
            min_rate=MIN_RATE,
            admission=replica.transcriber.admission,
        ),
    ]


def _key_checks(
    settings: Settings, tokens: Tokens, subprotocols: list[Subprotocol]
) -> list[Middleware]:
    """Nothing where keys are not asked for: a key that is sent all the same is not looked at."""
    check_access(settings)
    if warning := open_access_warning(settings):
        logger.warning(warning)
    if not settings.needs_keys:
        return []
    return [
        Middleware(
            Authentication, keys=KeyRing(settings), tokens=tokens, subprotocols=subprotocols
        ),
        Middleware(Quotas, settings=settings),
    ]
