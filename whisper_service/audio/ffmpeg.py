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
    *("wav", "w64", "aiff", "au", "caf", "voc", "flac", "wv", "tta", "mp3", "aac"),  # sound alone
    *("ac3", "eac3", "dts", "dtshd", "truehd", "mlp", "amr", "gsm"),
    *("ogg", "mov", "matroska", "asf", "avi", "flv", "mpegts", "mpeg", "mxf"),  # perhaps video
)
"""Containers that hold their own data; no playlist (hls, dash, concat), no list of pictures, no
session description. `mov` is also mp4 and m4a and `matroska` also webm. mov can point to other
files (dref); ffmpeg follows that only with `-enable_drefs 1`."""

INPUT_FORMATS = (
    "wav, mp3, m4a, flac, ogg, opus, aac, aiff, caf, au, amr, wma, ac3, dts, truehd, tta, wv, voc,"
    " gsm, and the sound of mp4, mov, mkv, webm, avi, flv, wmv, mpg, ts and mxf"
)
"""What users are told, by the names that such files end in."""
_ENDINGS = (
    "wav wave w64 mp3 mp2 mpga m4a m4b flac ogg oga opus aac aif aiff aifc caf au snd amr wma ac3"
    " eac3 dts truehd thd tta wv voc gsm mka weba mp4 m4v mov mkv webm avi flv wmv mpg mpeg vob ts"
    " mts m2ts mxf 3gp 3g2 ogv"
)
FILE_ENDINGS = frozenset(_ENDINGS.split())
"""All of them, and others for the same formats: what is taken for a recording in a folder."""

_PCM = (
    "u8 s8 s16le s16be s24le s24be s32le s32be s64le s64be f32le f32be f64le f64be"
    " mulaw alaw bluray dvd"
)
_ADPCM = "ms ima_wav ima_qt swf yamaha sbpro_2 sbpro_3 sbpro_4"
DECODERS = (
    *(f"pcm_{name}" for name in _PCM.split()),
    *(f"adpcm_{name}" for name in _ADPCM.split()),
    *("mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "aac", "aac_fixed", "aac_latm"),
    *("libfdk_aac", "ac3", "ac3_fixed", "eac3", "dca", "truehd", "mlp"),
    *("alac", "flac", "wavpack", "tta", "opus"),
    *("libopus", "vorbis", "libvorbis", "speex", "libspeex", "gsm", "gsm_ms", "libgsm"),
    *("libgsm_ms", "amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb", "g722", "g726"),
    *("wmav1", "wmav2", "wmapro", "wmavoice", "wmalossless", "nellymoser"),
    *("h264", "hevc"),
)
"""Sound; and the two video codecs whose first frames must be seen to know where the time of a
matroska file begins. No other video in a file is decoded, not even to find out what it is."""

# Packets leave with the time at which they belong, for `timeline` to read: 16 times the samples, as
# SMJPEG counts milliseconds. ffmpeg's muxers take no time that falls back, as where recordings were
# joined end to end (the second one starts at 0 again): it is told as a leap two hours ahead, more
# than any gap. The filter is one for packets; those for sound are built anew, and forget, when rate
# or channels change. Register 0 is what is added.
_STAMPS = (
    f"setts=ts='st(0,ld(0)+if(lt(PTS,PREV_INPTS),PREV_INPTS-PTS+{2 * 3600 * SAMPLE_RATE},0));"
    "16*(PTS+ld(0))'"
)
_OUTPUT = (
    *("-vn", "-sn", "-dn"),
    *("-ac", "1", "-ar", str(SAMPLE_RATE), "-c:a", "pcm_s16le"),  # as openai-whisper's load_audio
    *("-bsf:a", _STAMPS, "-avoid_negative_ts", "disabled", "-map_metadata", "-1"),
    *("-f", "smjpeg", "pipe:1"),
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


def decode_command(
    ffmpeg: str, fd: int, *, track: int | None = None, decoder: str | None = None
) -> list[str]:
    """Return the command that writes the sound in open file `fd` to stdout, for a `Timeline`.

    The file is opened again by its number, which gives a seekable input without a name. `track`
    counts audio tracks from 0; None leaves the choice to ffmpeg: of the default ones, else of all,
    the one with the most channels. `decoder` is one of `DECODERS`, where ffmpeg would take another.
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
        *(() if decoder is None else ("-c:a", decoder)),
        "-i", f"file:{folder}/{fd}",
        # output
        *(() if track is None else ("-map", f"0:a:{track}")),
        "-flush_packets", "0",  # write when a buffer is full, not at each packet of 26 ms
        *_OUTPUT,
    ]
    # fmt: on


def live_command(ffmpeg: str) -> list[str]:
    """Return the command that decodes stdin as it comes, to stdout, for a `Timeline`."""
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
        "-flush_packets", "1",
        *_OUTPUT,
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
