"""Where ffmpeg's samples belong: its output with time stamps in, samples without gaps out.

Sound goes where its time stamps say: a track that starts late or has gaps is filled with silence,
so that times agree with a player's. ffmpeg could do that in its filters, but it builds those anew,
with no memory, wherever rate or channels change inside a file. So the stamps are read here. Without
gaps the samples are, bit for bit, those of openai-whisper's `load_audio`.

Owns the form in which ffmpeg hands them over and what a gap is. Knows nothing of processes.

The form is SMJPEG (lokigames' `SMJPEG.txt`), the simplest that carries the time of each packet: a
header of chunks up to `HEND`, then packets of `sndD`, time and size (big-endian, 32 bits), samples.
Its time counts milliseconds; `ffmpeg.py` has it count samples.
"""

from enum import Enum

from whisper_service.types import SAMPLE_RATE

_SAMPLE_BYTES = 2
_MAGIC = b"\0\nSMJPEG" + bytes(8)
"""Followed by version 0 and, not known in a pipe, the length 0."""
_HEAD_BYTES = 12
_MIN_GAP = SAMPLE_RATE // 10
"""Samples. Below it lies what containers round; ffmpeg's own `aresample=async=1` waits as long."""
_MIN_OFFSET = SAMPLE_RATE // 1000
"""Samples, for the beginning of a track: some containers count milliseconds."""
_MIN_STEADY_PACKETS = 3
"""A stamp that leaps counts once so many before it did not."""


class Stamps(Enum):
    """What the time stamps of a container are worth."""

    FIRST = "first"
    """They say where the track begins. What follows is counted in samples, by ffmpeg (mp3, adts) or
    in the file (ogg), at a rate that is wrong once it changes."""
    SOME = "some"
    """A few packets have one, ffmpeg counts the others. After a change of rate these are wrong by
    the same share in every packet; a true gap comes after packets that were on time."""
    ALL = "all"
    """Every packet has its own."""


_STAMPS = dict.fromkeys(("mov", "matroska", "asf", "avi", "flv", "mxf"), Stamps.ALL)
_STAMPS |= dict.fromkeys(("mpegts", "mpeg"), Stamps.SOME)


class Timeline:
    """`feed` it what ffmpeg writes, and `take` samples: s16le, 16 kHz, mono.

    Holds no more than was fed last, however long a packet or a gap is.
    """

    def __init__(self, container: str, *, max_gap_seconds: float) -> None:
        """`container` is ffmpeg's name of a demuxer. A gap longer than the longest is a leap of
        the clock, and is taken out, as is a clock that falls back: recordings joined end to end."""
        self._stamps = _STAMPS.get(container, Stamps.FIRST)
        self._max_gap = round(max_gap_seconds * SAMPLE_RATE)
        self._buffer = bytearray()
        self._has_header = False
        self._silence = 0
        """Bytes to give before the packet."""
        self._skip = 0
        """Bytes to drop: a track may begin before 0."""
        self._payload = 0
        """Bytes of the packet that are still to come."""
        self._due: int | None = None
        """The stamp of the next packet if nothing is missing before it; None before the first."""
        self._end = 0
        """The stamp at which the last packet ended."""
        self._n_steady = 0
        """Packets in a row that began where the one before ended."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes; to be followed by `take` until that has no more."""
        self._buffer += data

    def take(self, n_bytes: int) -> bytes:
        """Return at most `n_bytes` of samples, b"" where more has to be fed."""
        out = bytearray()
        while len(out) < n_bytes:
            room = n_bytes - len(out)
            if self._silence:
                n_silent = min(self._silence, room)
                self._silence -= n_silent
                out += bytes(n_silent)
            elif self._payload:
                if not self._buffer:
                    break
                taken = self._cut(min(self._payload, room))
                self._payload -= len(taken)
                n_skipped = min(self._skip, len(taken))
                self._skip -= n_skipped
                out += taken[n_skipped:]
            elif not self._read_head():
                break
        return bytes(out)

    def _cut(self, n_bytes: int) -> bytes:
        head = bytes(self._buffer[:n_bytes])
        del self._buffer[:n_bytes]
        return head

    def _read_head(self) -> bool:
        """Read what stands before samples; False where it is not all there yet."""
        if not self._has_header:
            return self._read_header()
        if len(self._buffer) < _HEAD_BYTES:
            return False
        head = self._cut(_HEAD_BYTES)
        assert head.startswith(b"sndD"), head
        self._payload = int.from_bytes(head[8:])
        self._place(int.from_bytes(head[4:8]), self._payload // _SAMPLE_BYTES)
        return True

    def _read_header(self) -> bool:
        at = len(_MAGIC)
        while len(self._buffer) >= at + 8:
            if self._buffer[at : at + 4] == b"HEND":
                header = self._cut(at + 4)
                assert header.startswith(_MAGIC), header
                self._has_header = True
                return True
            at += 8 + int.from_bytes(self._buffer[at + 4 : at + 8])
        return False

    def _place(self, stamp: int, n_samples: int) -> None:
        """Decide on the silence before a packet of `n_samples`."""
        if self._due is None:
            late = _difference(stamp, 0)
            if -_MIN_GAP <= late <= self._max_gap and abs(late) >= _MIN_OFFSET:
                self._insert(late)
            self._due = self._end = stamp
        if self._stamps is Stamps.FIRST:
            return
        leap = _difference(stamp, self._end)
        # Stamps are rounded to milliseconds in some containers; clocks of devices are 1 % off.
        is_steady = abs(leap) <= _MIN_OFFSET + n_samples // 50
        if not is_steady and leap > 0 and not self._is_trusted():
            self._due += leap
        late = _difference(stamp, self._due)
        if _MIN_GAP < late <= self._max_gap:
            self._insert(late)
        if not -_MIN_GAP <= late <= _MIN_GAP:
            self._due = stamp
        self._n_steady = self._n_steady + 1 if is_steady else 0
        self._due += n_samples
        self._end = stamp + n_samples

    def _is_trusted(self) -> bool:
        return self._stamps is Stamps.ALL or self._n_steady >= _MIN_STEADY_PACKETS

    def _insert(self, n_samples: int) -> None:
        self._silence = max(n_samples, 0) * _SAMPLE_BYTES
        self._skip = max(-n_samples, 0) * _SAMPLE_BYTES


def _difference(stamp: int, other: int) -> int:
    """`stamp - other`, of stamps that count modulo 2**32."""
    return (stamp - other + 2**31) % 2**32 - 2**31
