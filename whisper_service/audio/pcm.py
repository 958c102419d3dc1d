"""Raw PCM bytes to mono float samples, at whatever rate they were sent.

Owns the four encodings a stream may use, and the bytes of a frame that came only in part. Knows
nothing of sockets, and leaves the rate as it is: see `resample`. µ-law and A-law are ITU-T G.711,
expanded with the closed form behind its tables 1 and 2.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from whisper_service.types import Audio, Encoding, PcmFormat

MAX_CHANNELS = 8
"""Of a stream; 7.1 is the most that microphone arrays and conference mixers commonly deliver."""
_DTYPES: dict[Encoding, str] = {
    Encoding.PCM_S16LE: "<i2",
    Encoding.PCM_F32LE: "<f4",
    Encoding.MULAW: "u1",
    Encoding.ALAW: "u1",
}
_INT16_SCALE = np.float32(1 / 32768)
"""As openai-whisper reads 16-bit samples; a power of two, so the division is exact."""


class PcmReader:
    """Turns chunks of bytes, cut anywhere, into float32 mono samples.

    The samples of a stream do not depend on how its bytes were cut. When the stream ends,
    `pending_bytes` says how many bytes of an unfinished frame are left over.
    """

    def __init__(self, format: PcmFormat) -> None:
        self._encoding = format.encoding
        self._channels = format.channels
        self._dtype = np.dtype(_DTYPES[format.encoding])
        self._frame_bytes = self._dtype.itemsize * format.channels
        self._pending = b""

    @property
    def pending_bytes(self) -> int:
        """Bytes held back because their frame (one sample of each channel) is not whole yet."""
        return len(self._pending)

    def read(self, data: bytes) -> Audio:
        """Return the samples of all frames that `data` completes: float32 [n], new memory."""
        data = self._pending + data
        n_frames = len(data) // self._frame_bytes
        self._pending = data[n_frames * self._frame_bytes :]
        raw = np.frombuffer(data, self._dtype, count=n_frames * self._channels)
        return _average(_to_float(raw, self._encoding).reshape(n_frames, self._channels))


def _to_float(raw: npt.NDArray[np.generic], encoding: Encoding) -> Audio:
    match encoding:
        case Encoding.PCM_S16LE:
            return raw.astype(np.float32) * _INT16_SCALE
        case Encoding.PCM_F32LE:
            # A NaN would spread through the resampler into everything after it; an infinity too.
            finite = np.nan_to_num(raw.astype(np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
            return np.clip(finite, -1.0, 1.0)
        case Encoding.MULAW:
            return _mulaw_table()[raw.astype(np.uint8)]
        case Encoding.ALAW:
            return _alaw_table()[raw.astype(np.uint8)]


def _average(frames: Audio) -> Audio:
    """Mean over channels: float32 [n, channels] -> [n].

    Added channel by channel: `mean(axis=1)` picks its order of addition by the shape, so that the
    last bit of a sample could depend on how many came with it.
    """
    total = frames[:, 0].copy()
    for channel in range(1, frames.shape[1]):
        total += frames[:, channel]
    return total / np.float32(frames.shape[1])


@cache
def _mulaw_table() -> Audio:
    """float32 [256]: the value of each µ-law byte.

    All bits are sent inverted: 1 sign, 3 segment, 4 step. Segments double their step width; 33
    (132 on the 16-bit scale) is the encoder's bias, which lets them share one formula.
    """
    bits = ~np.arange(256, dtype=np.uint8)
    segment, step = (bits >> 4).astype(np.int32) & 7, bits.astype(np.int32) & 15
    magnitude = (((step << 3) + 132) << segment) - 132
    return np.where(bits & 0x80, -magnitude, magnitude).astype(np.float32) * _INT16_SCALE


@cache
def _alaw_table() -> Audio:
    """float32 [256]: the value of each A-law byte.

    Even bits are sent inverted: 1 sign (set: positive), 3 segment, 4 step. The first two segments
    have the same step width, the others double it; values lie in the middle of their step.
    """
    bits = np.arange(256, dtype=np.uint8) ^ 0x55
    segment, step = (bits >> 4).astype(np.int32) & 7, bits.astype(np.int32) & 15
    middle = (step << 4) + 8
    magnitude = np.where(segment == 0, middle, (middle + 256) << np.maximum(segment - 1, 0))
    return np.where(bits & 0x80, magnitude, -magnitude).astype(np.float32) * _INT16_SCALE
