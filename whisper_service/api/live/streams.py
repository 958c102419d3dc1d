"""What the live streams of one replica share, whatever their protocol: the decoder, how many there
may be, how late they are, what is measured of them."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from whisper_service.api.decoder import Decoder
from whisper_service.api.http.limits import Limit
from whisper_service.api.live.lag import MAX_LAG, LagGate
from whisper_service.api.live.latency_meter import StreamMeter
from whisper_service.api.metrics import ACTIVE_STREAMS, Metrics
from whisper_service.audio.container import Container, open_container
from whisper_service.audio.ffmpeg_process import MAX_WAIT
from whisper_service.errors import Restarting
from whisper_service.settings import Settings
from whisper_service.types import StreamConfig

MAX_CONTAINERS = 16
"""Streams of a replica that send a container: each has an ffmpeg of its own, of some 50 MB."""


class LiveStreams:
    """One for each replica. A socket is to `admit` itself first, then to `open`."""

    def __init__(
        self,
        settings: Settings,
        decoder: Decoder,
        draining: Callable[[], bool],
        metrics: Metrics,
    ) -> None:
        """`draining` says whether the replica is going away."""
        self.settings = settings
        self.decoder = decoder
        self.draining = draining
        self._metrics = metrics
        self._streams = Limit(settings.max_streams, "streams")
        self._containers = Limit(MAX_CONTAINERS, "streams of containers")
        self._lag_gate = LagGate(MAX_LAG)
        self._n_open: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def admit(self, n_streams: int = 1) -> Iterator[None]:
        """Count as `n_streams` for the length of the block: a channel decoded apart is one.

        To be called before the handshake. Raises `Restarting` and `Overloaded`.
        """
        if self.draining():
            raise Restarting("This replica is going away; connect again.", retry_after=1)
        self._lag_gate.check()
        with self._streams.admit(n_streams):
            yield

    @contextmanager
    def open(
        self,
        protocol: str,
        model_size: str,
        lag: Callable[[], float],
    ) -> Iterator["OpenStream"]:
        """Count a stream for the length of the block. `protocol`: a metric's label; `lag`: the
        seconds it is behind."""
        with self._lag_gate.register(lag):
            stream = OpenStream(self._count, protocol, model_size)
            try:
                yield stream
            finally:
                stream.close()

    def meter(self, protocol: str, model_size: str) -> StreamMeter:
        """The meter of one plan of a stream."""
        return StreamMeter(self._metrics, model_size, protocol)

    @asynccontextmanager
    async def container(self, config: StreamConfig) -> AsyncIterator[Container | None]:
        """An ffmpeg for a stream that is sent in a container; None for raw audio.

        Raises `Overloaded` if it is one too many.
        """
        if config.pcm is not None:
            yield None
            return
        seconds = self.settings.max_stream_seconds + MAX_WAIT
        with self._containers.admit():
            async with open_container(max_wait=MAX_WAIT, cpu_seconds=seconds) as container:
                yield container

    def _count(self, protocol: str, model_size: str, change: int) -> None:
        self._n_open[protocol, model_size] += change
        n_open = self._n_open[protocol, model_size]
        self._metrics.record(ACTIVE_STREAMS, n_open, model=model_size, protocol=protocol)


class OpenStream:
    """One stream among those that are counted."""

    def __init__(
        self, count: Callable[[str, str, int], None], protocol: str, model_size: str
    ) -> None:
        self._count = count
        self._protocol = protocol
        self._model_size = model_size
        count(protocol, model_size, 1)

    def switch_model(self, model_size: str) -> None:
        """It goes on with another model."""
        if model_size != self._model_size:
            self.close()
            self._model_size = model_size
            self._count(self._protocol, model_size, 1)

    def close(self) -> None:
        """It has ended."""
        self._count(self._protocol, self._model_size, -1)
