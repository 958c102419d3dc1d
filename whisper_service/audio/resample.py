"""A stream at any rate to Whisper's 16 kHz, without clicks where its chunks meet.

Owns the filter's memory between chunks. The filter is soxr's, quality HQ (20 bit).
"""

import numpy as np
import soxr

from whisper_service.types import SAMPLE_RATE, Audio


class Resampler:
    """Takes samples in chunks of any size; what comes out does not depend on the chunks' sizes.

    Call `flush` once at the end: until then the filter holds back its own length, a few
    milliseconds. At 16 kHz samples pass through untouched.
    """

    def __init__(self, sample_rate: int) -> None:
        self._stream: soxr.ResampleStream | None = None
        if sample_rate != SAMPLE_RATE:
            self._stream = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32")

    def push(self, samples: Audio) -> Audio:
        """Return the 16 kHz samples, float32 [n], that are complete with these."""
        return self._resample(samples, last=False)

    def flush(self) -> Audio:
        """Return what the filter still holds. Nothing may be pushed after this."""
        return self._resample(np.empty(0, np.float32), last=True)

    def _resample(self, samples: Audio, *, last: bool) -> Audio:
        if self._stream is None:
            return samples
        resampled: Audio = self._stream.resample_chunk(samples, last=last)
        return resampled
