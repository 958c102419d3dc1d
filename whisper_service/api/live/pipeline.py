"""A stream's plan with what surrounds it: bytes to samples before it, a protocol's words after it.

Knows no socket, no decoder and no clock but the one it is given.
"""

from typing import Generic, TypeVar

from whisper_service.api.live.latency import StreamWatch
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

T = TypeVar("T")


def state_at(config: StreamConfig, seconds: float) -> StreamState:
    """The state of a stream that begins `seconds` after its socket did."""
    return StreamState(
        offset=round(seconds * SAMPLE_RATE),
        next_id=0,
        language=config.decode.language,
        language_probability=0.0,
        context="",
    )


class PlanRun(Generic[T]):
    """One plan on its way from its first sample to its `Done`. `T` turns its events into messages;
    it is kept here and not used."""

    def __init__(
        self, config: StreamConfig, state: StreamState, translator: T, watch: StreamWatch
    ) -> None:
        self.config = config
        self.begin = state.offset / SAMPLE_RATE
        self.translator = translator
        detector = SileroDetector(config.vad_threshold) if config.vad else None
        self.plan = StreamPlan(config, detector=detector, resume=state)
        self._watch = watch
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
        """Raw audio to samples for `hear`."""
        samples = self._pcm.read(data)
        self._n_read += len(samples)
        return self._resampler.push(samples)

    def hear(self, samples: Audio, now: float) -> None:
        """Give the plan its next samples."""
        self.plan.receive_audio(samples)
        self._watch.hear(self.plan.received, now)

    def stop(self) -> None:
        """Give the plan what the resampler still holds, and no more."""
        rest = self._resampler.flush()
        if len(rest):
            self.plan.receive_audio(rest)
        self.plan.stop()

    def receive_hypothesis(self, job: DecodeJob, hypothesis: Hypothesis) -> None:
        """Give the plan the answer to its job."""
        self.plan.receive_hypothesis(job, hypothesis)
        self._watch.answer(self.plan.backlog, self.plan.n_loops, self.plan.n_phrases)

    def take_events(self, now: float) -> list[Event]:
        """What happened since the last call, to be told at once."""
        events = self.plan.events()
        for event in events:
            self._watch.tell(event, now)
        return events
