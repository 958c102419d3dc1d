"""A window over an endless stream of samples, addressed by position from the stream's start.

Owns the memory and nothing else: what to keep is the caller's decision.
"""

import numpy as np

from whisper_service.types import SAMPLE_RATE, Audio

_MIN_CAPACITY = 2 * SAMPLE_RATE
"""2 s, 128 kB: a stream in step with its speaker rarely grows beyond a few doublings of this."""
DEFAULT_MAX_SAMPLES = 600 * SAMPLE_RATE
"""10 min, 38 MB: ten times the backlog a stream is allowed by default."""


class AudioBuffer:
    """Samples `[start, end)` of a stream; both only grow.

    Appending and discarding cost O(1) per sample, amortised; memory is at most about four times
    the samples held. Holding more than `max_samples` raises `BufferError`: callers are to stop
    reading long before.
    """

    def __init__(self, start: int = 0, *, max_samples: int = DEFAULT_MAX_SAMPLES) -> None:
        self._start = start
        self._max_samples = max_samples
        self._memory: Audio = np.empty(_MIN_CAPACITY, np.float32)
        self._offset = 0
        """Where in `_memory` the sample `start` lies."""
        self._length = 0

    @property
    def start(self) -> int:
        """Position of the first sample still held."""
        return self._start

    @property
    def end(self) -> int:
        """Position after the last sample appended."""
        return self._start + self._length

    def __len__(self) -> int:
        return self._length

    def append(self, samples: Audio) -> None:
        """Copy `samples` in at `end`."""
        needed = self._length + len(samples)
        if needed > self._max_samples:
            raise BufferError(f"{needed} samples are to be held; {self._max_samples} are allowed")
        if self._offset + needed > len(self._memory):
            self._make_room(needed)
        at = self._offset + self._length
        self._memory[at : at + len(samples)] = samples
        self._length = needed

    def slice(self, start: int, end: int) -> Audio:
        """Return a copy of the samples `[start, end)`, which must be held."""
        if not self.start <= start <= end <= self.end:
            raise IndexError(f"[{start}, {end}) is asked for, [{self.start}, {self.end}) is held")
        at = self._offset + start - self._start
        return self._memory[at : at + end - start].copy()

    def discard_before(self, position: int) -> None:
        """Forget what lies before `position`; nothing happens if that is gone already."""
        dropped = min(max(position - self._start, 0), self._length)
        self._start += dropped
        self._offset += dropped
        self._length -= dropped

    def _make_room(self, needed: int) -> None:
        """Move what is held to the front, of new memory unless the old is half to an eighth full.

        At least half of the memory is free afterwards, so as many appended samples pay for the
        move as it copied.
        """
        held = self._memory[self._offset : self._offset + self._length]
        capacity = len(self._memory)
        if not capacity // 8 <= needed <= capacity // 2:
            capacity = max(2 * needed, _MIN_CAPACITY)
        memory = self._memory if capacity == len(self._memory) else np.empty(capacity, np.float32)
        memory[: self._length] = held  # numpy copies overlapping ranges as if through a temporary
        self._memory, self._offset = memory, 0
