"""How ffmpeg is found, called and fenced in; see `decode` for running it.

An upload is hostile until proved otherwise, and ffmpeg knows hundreds of formats, among them some
that are lists of other files and addresses to open. So it may use only the demuxers and decoders
named here, reads one open file and nothing else, inherits no secrets from the environment, writes
to one pipe, and has limits on memory and time.
"""

import math
import os
import resource
import shutil
import sys
from contextlib import suppress
from functools import cache

from whisper_service.types import SAMPLE_RATE

DEMUXERS = (
    *("wav", "w64", "aiff", "au", "caf", "flac", "wv", "mp3", "aac", "amr"),  # sound alone
    *("ogg", "mov", "matroska", "asf", "avi", "flv", "mpegts", "mpeg"),  # sound, perhaps video
)
"""Containers that hold their own data; no playlist (hls, dash, concat), no list of pictures, no
session description. `mov` is also mp4 and m4a and `matroska` also webm. mov can point to other
files (dref); ffmpeg follows that only with `-enable_drefs 1`."""

_PCM = "u8 s8 s16le s16be s24le s24be s32le s32be f32le f32be f64le f64be mulaw alaw bluray dvd"
_ADPCM = "ms ima_wav ima_qt swf yamaha"
DECODERS = (
    *(f"pcm_{name}" for name in _PCM.split()),
    *(f"adpcm_{name}" for name in _ADPCM.split()),
    *("mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "aac", "aac_fixed", "aac_latm"),
    *("libfdk_aac", "ac3", "ac3_fixed", "eac3", "dca", "alac", "flac", "wavpack", "opus"),
    *("libopus", "vorbis", "libvorbis", "speex", "libspeex", "gsm", "gsm_ms", "libgsm"),
    *("libgsm_ms", "amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb", "g722", "g726"),
    *("wmav1", "wmav2", "wmapro", "wmavoice", "wmalossless", "nellymoser"),
    *("h264", "hevc"),
)
"""Sound; and the two video codecs whose first frames must be seen to know where the time of a
matroska file begins. No other video in a file is decoded, not even to find out what it is."""

_MAX_GAP_SECONDS = 3600
"""ffmpeg makes a gap's silence in one piece, in memory: 0.2 GB an hour."""
_MAX_LIVE_GAP_SECONDS = 30
"""Live, nobody waits longer for sound that was lost on the way; and a few bytes that claim an
hour's gap would have an hour of silence looked through."""
# Sound goes where its timestamps say: a track that starts late or has gaps is filled with silence,
# so that times agree with a player's. That is `async=1`, which alone would also drop sound whose
# timestamps fall back, as where recordings were joined end to end (the second one starts at 0
# again). So a clock that falls back by over 0.1 s, or leaps beyond any likely gap, first has its
# leap taken out. Register 0 is the timestamp expected next, 1 what is added, 2 the leap. Without
# gaps the samples are, bit for bit, those of openai-whisper's `load_audio`.
_CLOCK = (
    "st(2,PTS+ld(1)-ld(0));"
    "st(1,if(lt(ld(2),-SR/10)+gt(ld(2),SR*{max_gap}),ld(0)-PTS,ld(1)));"
    "st(0,PTS+ld(1)+NB_SAMPLES);"
    "PTS+ld(1)"
)
_FILTERS = (
    f"aresample={SAMPLE_RATE},aformat=sample_fmts=s16:channel_layouts=mono,"
    f"asetpts='{_CLOCK}',"
    "aresample=async=1:first_pts=0"
)

_LIVE_PROBE_BYTES = 32 * 1024
"""2 s of mp3 at 128 kbit/s; ffmpeg's default, 5 MB, would hear for minutes before it answers."""
_MEMORY_BYTES = 2 * 1024**3
"""Address space. ffmpeg 5.1 to 9.0 use 0.3 to 0.6 GB of it (resident: 0.05), HD video included."""
_NICENESS = 5
"""Behind the event loop, which also serves live streams."""


@cache
def find_ffmpeg() -> str:
    """Return the path of the system's ffmpeg, else of the one in `imageio-ffmpeg`.

    May start a process and wait for it: not for the event loop.
    """
    if installed := shutil.which("ffmpeg"):
        return installed
    import imageio_ffmpeg  # 20 ms that most machines need not spend

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def decode_command(ffmpeg: str, fd: int) -> list[str]:
    """Return the command that writes the sound in open file `fd` to stdout: s16le, mono, 16 kHz.

    The file is opened again by its number, which gives a seekable input without a name.
    """
    folder = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
    # fmt: off
    return [
        ffmpeg, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info",
        # input
        "-protocol_whitelist", "file",
        "-format_whitelist", ",".join(DEMUXERS),
        "-codec_whitelist", ",".join(DECODERS),
        "-threads", "1",
        "-i", f"file:{folder}/{fd}",
        # output: of several audio streams the default one, else that with the most channels
        "-vn", "-sn", "-dn",
        "-af", _FILTERS.format(max_gap=_MAX_GAP_SECONDS),
        "-flush_packets", "0",  # write when a buffer is full, not at each packet of 26 ms
        "-f", "s16le", "pipe:1",
    ]
    # fmt: on


def live_command(ffmpeg: str) -> list[str]:
    """Return the command that decodes stdin as it comes, to stdout: s16le, mono, 16 kHz."""
    # fmt: off
    return [
        ffmpeg, "-hide_banner", "-nostats", "-loglevel", "level+info",
        # input: no more is read ahead to know a stream than half a second, or 32 kB of it; not
        # with `-fflags nobuffer`, which drops what was read ahead
        "-protocol_whitelist", "pipe",
        "-format_whitelist", ",".join(DEMUXERS),
        "-codec_whitelist", ",".join(DECODERS),
        "-threads", "1",
        "-probesize", str(_LIVE_PROBE_BYTES), "-analyzeduration", "500000",
        "-i", "pipe:0",
        "-vn", "-sn", "-dn",
        "-af", _FILTERS.format(max_gap=_MAX_LIVE_GAP_SECONDS),
        "-flush_packets", "1",
        "-f", "s16le", "pipe:1",
    ]
    # fmt: on


def decode_environment() -> dict[str, str]:
    """Return the few variables ffmpeg needs; FFREPORT would make it write a file."""
    names = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in names if name in os.environ}


def fence(pid: int, *, cpu_seconds: float) -> None:
    """Limit what the child may use, from outside, right after its start.

    From inside, between fork and exec, Python code could deadlock. These limits are a second
    fence: where the system does not allow or know them, ffmpeg runs without.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _NICENESS)
    if not hasattr(resource, "prlimit"):  # macOS
        return
    limits = {
        resource.RLIMIT_AS: _MEMORY_BYTES,
        resource.RLIMIT_CPU: math.ceil(cpu_seconds),
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    with suppress(OSError, ValueError):
        for kind, limit in limits.items():
            resource.prlimit(pid, kind, (limit, limit))
