"""Interleaved bytes of several channels, taken apart."""

import numpy as np


class Splitter:
    """Takes chunks cut anywhere, and gives each channel its own whole samples."""

    def __init__(self, sample_bytes: int, n_channels: int) -> None:
        self._sample_bytes = sample_bytes
        self._n_channels = n_channels
        self._pending = b""

    def split(self, data: bytes) -> list[bytes]:
        """Each channel's part of `data`; what is less than a frame waits for the next call."""
        data = self._pending + data
        n_frames = len(data) // (self._sample_bytes * self._n_channels)
        whole = n_frames * self._sample_bytes * self._n_channels
        self._pending = data[whole:]
        if self._n_channels == 1:
            return [data[:whole]]
        frames = np.frombuffer(data[:whole], np.uint8)
        frames = frames.reshape(n_frames, self._n_channels, self._sample_bytes)
        return [frames[:, channel].tobytes() for channel in range(self._n_channels)]
