"""GET /stats: how one replica is doing, for a person who looks. Prometheus has the whole service.

What is measured passes through a board that remembers the last minute; nothing else keeps count.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import numpy as np
from fastapi import APIRouter
from pydantic import Field

from whisper_service import __version__
from whisper_service.api.catalog import stand_in_notice
from whisper_service.api.decoder import Decoder
from whisper_service.api.metrics import (
    ACTIVE_STREAMS,
    FINAL_LAG,
    LAG,
    UPLOAD_WAIT,
    UPLOADS,
    Measure,
    Metrics,
)
from whisper_service.api.schemas.base import Output
from whisper_service.errors import ServiceError
from whisper_service.keys.configured import OPEN_ACCESS, open_access_warning
from whisper_service.settings import Access, Settings

RECENT = 60.0
"""Seconds that count as now."""
_MAX_VALUES = 2000
"""Values kept of one measure: a minute of 24 streams that decode once a second, and some."""
_PACKAGES = ("ray", "torch", "openai-whisper", "fastapi")


class SpreadBody(Output):
    """How some seconds lie."""

    n: int = Field(description="Values there are.", examples=[42])
    p50: float | None = Field(description="Median, in seconds.", examples=[0.41])
    p95: float | None = Field(description="95th percentile, in seconds.", examples=[0.93])


class DecoderStatsBody(Output):
    """What one model server is doing."""

    replica: str = Field(description="Which one answered.", examples=["k3v9x1ab"])
    models: list[str] = Field(description="Models it has loaded.", examples=[["base"]])
    windows_now: int = Field(
        description="Windows it has: those being decoded and those that wait.", examples=[3]
    )
    windows_done: int = Field(description="Windows decoded since it started.", examples=[1203])
    window_seconds: SpreadBody = Field(
        description="From when it took a window to its text, of the last hundred."
    )
    max_batch_size: int = Field(
        description="Windows decoded together at the most; more than that wait.", examples=[8]
    )


class WarningBody(Output):
    """Something that whoever runs the service should know of, and may want to change."""

    code: Literal["open_access", "demo_fallback"] = Field(
        description="What programs branch on. `open_access`: no API keys are configured, and others"
        " than the service's own machine can connect. `demo_fallback`: the default model could be"
        " had from no source, and one that cannot understand speech answers in its place.",
        examples=["open_access"],
    )
    message: str = Field(
        description="For people: what it means, and what to set.", examples=[OPEN_ACCESS]
    )


class StatsBody(Output):
    """How one replica, and one model server behind it, are doing now."""

    versions: dict[str, str] = Field(
        description="What runs.", examples=[{"whisper-streaming": "0.1.0", "ray": "2.60.0"}]
    )
    uptime: float = Field(description="Seconds this replica has been up.", examples=[3600.0])
    access: Access = Field(
        description="Who can use the service. `keys`: those with an API key. `local`: only the"
        " service's own machine. `open`: everybody who can connect.",
        examples=["keys"],
    )
    warnings: list[WarningBody] = Field(description="What whoever runs the service should know of.")
    streams: dict[str, int] = Field(
        description="Streams open here, by model.", examples=[{"base": 7}]
    )
    max_streams: int = Field(description="Streams this replica takes.", examples=[24])
    uploads: int = Field(description="Uploads being transcribed here.", examples=[3])
    max_uploads: int = Field(description="Uploads this replica takes.", examples=[64])
    upload_wait: float = Field(
        description="Seconds until another upload's first window would be begun, as of the last"
        " answer; beyond `upload_admission_wait` uploads are refused.",
        examples=[0.0],
    )
    lag: SpreadBody = Field(
        description="Audio that waited for its final beyond the chunk duration, last minute."
    )
    final_lag: SpreadBody = Field(
        description="From the end of speech to its last final, last minute."
    )
    decoder: DecoderStatsBody | None = Field(
        description="A model server; null if none answers, and `/readyz` says why."
    )


class StatsBoard:
    """Implements `Metrics`: passes every figure on, and remembers those that people ask for."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._began = clock()
        self._streams: dict[tuple[str, str], int] = {}
        self._latest = {UPLOADS.name: 0.0, UPLOAD_WAIT.name: 0.0}
        self._values: dict[str, deque[tuple[float, float]]] = {
            measure.name: deque(maxlen=_MAX_VALUES) for measure in (LAG, FINAL_LAG)
        }

    def record(self, measure: Measure, value: float, **labels: str) -> None:
        """See `Metrics`."""
        self._metrics.record(measure, value, **labels)
        if measure is ACTIVE_STREAMS:
            self._streams[labels["model"], labels["protocol"]] = int(value)
        elif measure.name in self._latest:
            self._latest[measure.name] = value
        elif (values := self._values.get(measure.name)) is not None:
            values.append((self._clock(), value))

    @property
    def uptime(self) -> float:
        """Seconds since this was made."""
        return self._clock() - self._began

    @property
    def streams(self) -> dict[str, int]:
        """Streams open now, by model."""
        found: Counter[str] = Counter()
        for (model, _), n in self._streams.items():
            found[model] += n
        return dict(+found)

    def latest(self, measure: Measure) -> float:
        """Return the last value of a gauge of the uploads."""
        return self._latest[measure.name]

    def spread(self, measure: Measure) -> SpreadBody:
        """Return how the values of the last minute lie."""
        since = self._clock() - RECENT
        return spread_of([value for at, value in self._values[measure.name] if at >= since])


def spread_of(values: list[float]) -> SpreadBody:
    """Median and 95th percentile; null where there is nothing."""
    if not values:
        return SpreadBody(n=0, p50=None, p95=None)
    p50, p95 = (round(float(value), 3) for value in np.percentile(values, (50, 95)))
    return SpreadBody(n=len(values), p50=p50, p95=p95)


def stats_router(settings: Settings, decoder: Decoder, board: StatsBoard) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["health"])

    @router.get("/stats", summary="How is it doing?")
    async def stats() -> StatsBody:
        """What the replica that answers, and one model server, are doing now. With several of
        each, ask again for another, or look at the metrics for all."""
        return StatsBody(
            versions=_versions(),
            uptime=round(board.uptime, 1),
            access=settings.access,
            warnings=[*_access_warnings(settings), *await _model_warnings(decoder)],
            streams=board.streams,
            max_streams=settings.max_streams,
            uploads=int(board.latest(UPLOADS)),
            max_uploads=settings.max_uploads,
            upload_wait=round(board.latest(UPLOAD_WAIT), 1),
            lag=board.spread(LAG),
            final_lag=board.spread(FINAL_LAG),
            decoder=await _ask(decoder),
        )

    return router


def _access_warnings(settings: Settings) -> list[WarningBody]:
    message = open_access_warning(settings)
    return [WarningBody(code="open_access", message=message)] if message else []


async def _model_warnings(decoder: Decoder) -> list[WarningBody]:
    try:
        message = stand_in_notice(await decoder.models())
    except ServiceError:  # as below
        return []
    return [WarningBody(code="demo_fallback", message=message)] if message else []


async def _ask(decoder: Decoder) -> DecoderStatsBody | None:
    try:
        found = await decoder.stats()
    except ServiceError:  # /readyz says why; the rest of the page is still of use
        return None
    return DecoderStatsBody(
        replica=found.replica,
        models=list(found.models),
        windows_now=found.windows_now,
        windows_done=found.windows_done,
        window_seconds=spread_of(list(found.window_seconds)),
        max_batch_size=found.max_batch_size,
    )


def _versions() -> dict[str, str]:
    found = {"whisper-streaming": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # an ingress image may leave out what only WhisperASR needs
            continue
    return found
