"""A stream's plan with what surrounds it: bytes to samples before it, its latencies after it.

Knows no socket, no decoder and no clock but the one it is given.
"""

from whisper_service.api.live.latency_meter import StreamMeter
from whisper_service.audio.pcm import PcmReader
from whisper_service.audio.resample import Resampler
from whisper_service.audio.vad import SileroDetector
from whisper_service.policy.stream_events import Event, StreamState
from whisper_service.policy.stream_plan import StreamPlan
from whisper_service.types import (
    SAMPLE_RATE,
    Audio,
    DecodeJob,
    Hypothesis,
    PcmFormat,
    StreamConfig,
)


def state_at(config: StreamConfig, seconds: float) -> StreamState:
    """The state of a stream that begins `seconds` after its socket did."""
    return StreamState(
        offset=round(seconds * SAMPLE_RATE),
        next_id=0,
        language=config.decode.language,
        language_probability=0.0,
        context="",
    )


class StreamPipeline:
    """One plan on its way from its first sample to its `Done`."""

    def __init__(self, config: StreamConfig, state: StreamState, meter: StreamMeter) -> None:
        self.config = config
        self.begin = state.offset / SAMPLE_RATE
        detector = SileroDetector(config.vad_threshold) if config.vad else None
        self.plan = StreamPlan(config, detector=detector, resume=state)
        self._meter = meter
        pcm = config.pcm or PcmFormat()  # a container's samples come as they are wanted
        self._sample_rate = pcm.sample_rate
        self._pcm = PcmReader(pcm)
        self._resampler = Resampler(pcm.sample_rate)
        self._n_read = 0

    @property
    def read_seconds(self) -> float:
        """How much raw audio it was given, at the rate it was sent."""
        return self._n_read / self._sample_rate

    def read(self, data: bytes) -> Audio:
        """Raw audio to samples for `receive_audio`."""
        samples = self._pcm.read(data)
        self._n_read += len(samples)
        return self._resampler.push(samples)

    def receive_audio(self, samples: Audio, now: float) -> None:
        """Give the plan its next samples."""
        self.plan.receive_audio(samples)
        self._meter.audio_received(self.plan.received, now)

    def stop(self) -> None:
        """Give the plan what the resampler still holds, and no more."""
        rest = self._resampler.flush()
        if len(rest):
            self.plan.receive_audio(rest)
        self.plan.stop()

    def receive_hypothesis(self, job: DecodeJob, hypothesis: Hypothesis) -> None:
        """Give the plan the hypothesis of its job."""
        self.plan.receive_hypothesis(job, hypothesis)
        self._meter.hypothesis_received(self.plan.backlog, self.plan.n_loops, self.plan.n_phrases)

    def take_events(self, now: float) -> list[Event]:
        """The events since the last call, to be sent at once."""
        events = self.plan.events()
        for event in events:
            self._meter.event_sent(event, now)
        return events
