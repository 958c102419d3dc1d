"""The audio of a live stream as bytes, kept until its text is final, so that it can be sent again.

Owns the bytes between a source that fills it and connections that read it, each from where the
service wants it. Bounded: where nothing became final for very long, nothing was said, and what is
older comes back as silence, so that the clock stays right.
"""

import asyncio

MAX_KEPT_SECONDS = 600
"""19 MB of 16 kHz audio; a service at its limit of backlog (60 s) is far within it."""


class Tape:
    """Positions are bytes from the start of the stream."""

    def __init__(self, sample_rate: int, frame_bytes: int = 2, silence: bytes = b"\0") -> None:
        """A frame is one sample of all channels; `silence` is the byte a silent one is made of."""
        self._sample_rate = sample_rate
        self._frame_bytes = frame_bytes
        self._max_kept = self.position_of(MAX_KEPT_SECONDS)
        self._silence = silence
        self._data = bytearray()
        self._start = 0
        self.has_ended = False
        """Nothing more will be recorded."""
        self._news = asyncio.Event()

    @property
    def end(self) -> int:
        """Position after the last byte."""
        return self._start + len(self._data)

    @property
    def n_kept(self) -> int:
        """Bytes in memory."""
        return len(self._data)

    def position_of(self, seconds: float) -> int:
        """Return where the frame at that time begins."""
        return round(seconds * self._sample_rate) * self._frame_bytes

    def append(self, data: bytes) -> None:
        """Record on, unless the tape was stopped."""
        if not self.has_ended:
            self._data += data
            self.forget_before(self.end - self._max_kept)
            self._news.set()

    def stop(self) -> None:
        """Record no more; readers come to an end."""
        self.has_ended = True
        self._news.set()

    def forget_before(self, position: int) -> None:
        """Free what will not be wanted again."""
        n_bytes = min(position, self.end) - self._start
        if n_bytes > 0:
            del self._data[:n_bytes]
            self._start += n_bytes

    async def read(self, position: int, n_bytes: int) -> bytes:
        """Return up to `n_bytes` from `position` on, once there are any; b"" after the end."""
        while position >= self.end and not self.has_ended:
            self._news.clear()
            await self._news.wait()
        lost = min(max(self._start - position, 0), n_bytes)
        begin = max(position - self._start, 0)
        return self._silence * lost + bytes(self._data[begin : begin + n_bytes - lost])
