"""A wav file that already holds what ffmpeg would make of it: read as it is, in no time.

Starting ffmpeg takes 25 ms, more than all else that a service adds to a short recording. So
16-bit mono PCM at 16 kHz, which is what speech programs write, is read by the standard library.
The samples are those ffmpeg gives, bit for bit; anything else, and anything odd, is left to it.
"""

import asyncio
import os
import struct
import wave
from typing import BinaryIO

from whisper_service.types import SAMPLE_RATE

_SAMPLE_BYTES = 2
_UNKNOWN_RIFF_SIZE = 1_000_000_000
"""Programs that write to a pipe, where they cannot come back to the header, put 0 there or a number
that no recording reaches: 1 or 2 billion, about the largest of 30, 31 or 32 bits."""
_HEADER_BYTES = 64 * 1024
"""Within which the description of the format is looked for."""
_FORMAT = struct.Struct("<HHIIHH")
"""Tag, channels, rate, bytes a second, bytes of a frame, bits of a sample."""
_EXTENSIBLE = 0xFFFE
_PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")


class PlainWav:
    """The samples of a wav file that `open_plain_wav` found to be plain."""

    def __init__(self, reader: wave.Wave_read) -> None:
        self._reader = reader
        self.duration = reader.getnframes() / SAMPLE_RATE
        """Seconds, as the header says."""

    async def read(self, n_bytes: int) -> bytes:
        """Return `n_bytes` of s16le, fewer only at the end."""
        return await asyncio.to_thread(self._reader.readframes, n_bytes // _SAMPLE_BYTES)


def open_plain_wav(file: BinaryIO) -> PlainWav | None:
    """Read the header at the beginning of `file`; None where ffmpeg has to look at it.

    To be called at position 0; the position is moved.
    """
    size = os.fstat(file.fileno()).st_size
    try:
        reader = wave.open(file, "rb")  # noqa: SIM115 - the file is the caller's to close
    except (wave.Error, EOFError):
        return None
    is_plain = reader.getnchannels() == 1 and reader.getsampwidth() == _SAMPLE_BYTES
    n_bytes = reader.getnframes() * _SAMPLE_BYTES
    is_whole = 0 < n_bytes < size and not is_cut_riff(file.fileno())
    if is_plain and is_whole and reader.getframerate() == SAMPLE_RATE:
        return PlainWav(reader)
    return None


def is_cut_riff(fd: int) -> bool:
    """Whether a wav (or avi) file is shorter than its header says: ffmpeg does not tell."""
    header = os.pread(fd, 8, 0)
    size = int.from_bytes(header[4:], "little")
    if header[:4] != b"RIFF" or size >= _UNKNOWN_RIFF_SIZE:
        return False
    return os.fstat(fd).st_size < size + 8 - 1  # one byte of padding may be missing


def is_padded_pcm(fd: int) -> bool:
    """Whether a wav file holds whole numbers of 24 bits or fewer in 32, as its extensible header
    says; ffmpeg takes them for the floats that Cool Edit once wrote with such sizes."""
    head = os.pread(fd, _HEADER_BYTES, 0)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return False
    at = 12
    while at + 8 <= len(head) and head[at : at + 4] != b"fmt ":
        size = int.from_bytes(head[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    tag, n_channels, *_, frame_bytes, _ = _FORMAT.unpack(head[at + 8 : at + 24].ljust(16, b"\0"))
    valid_bits = int.from_bytes(head[at + 26 : at + 28], "little")
    is_pcm = tag == _EXTENSIBLE and head[at + 32 : at + 48] == _PCM_GUID
    return is_pcm and frame_bytes == 4 * n_channels and 0 < valid_bits <= 24
