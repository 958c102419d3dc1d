from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_service.audio.ffmpeg_log import AudioTrack, FfmpegLog

MOVIE = b"""\
[h264 @ 0x55e9df621100] [error] Codec (h264) not on whitelist 'aac'
[info] Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'file:/proc/self/fd/3':
[info]   Metadata:
[info]     major_brand     : isom
[info]   Duration: 01:02:03.50, start: 0.000000, bitrate: 158 kb/s
[info]   Stream #0:0[0x1](und): Video: h264 (High) (avc1 / 0x31637661), yuv444p, 64x48
[info]   Stream #0:1[0x2](und): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz, stereo (default)
"""


def facts(data: bytes) -> FfmpegLog:
    log = FfmpegLog()
    log.feed(data)
    return log


def test_the_header_tells_length_and_tracks() -> None:
    log = facts(MOVIE)
    assert log.has_input
    assert log.duration == 3723.5
    assert log.tracks == [AudioTrack("aac", n_channels=2, is_default=True)]
    assert log.n_streams == 2
    assert not log.is_damaged  # what went wrong before is only probing


@pytest.mark.parametrize(
    ("layout", "n_channels"),
    [("mono", 1), ("5.1(side)", 6), ("7.1.4", 12), ("4.0", 4), ("quad", 4), ("11 channels", 11)],
)
def test_channels_of_a_track(layout: str, n_channels: int) -> None:
    line = f"[info]   Stream #0:1: Audio: flac, 48000 Hz, {layout}, s16, 1.5 kb/s\n"
    assert facts(line.encode()).tracks[0].n_channels == n_channels


def test_an_unknown_codec_goes_by_the_files_own_name() -> None:
    line = b"[info]   Stream #0:1[0x2](und): Audio: none (apac / 0x63617061), 48000 Hz, 4.0\n"
    assert facts(line).tracks[0].codec == "apac"


def test_what_ffmpeg_writes_is_no_track() -> None:
    output = (
        b"[info] Output #0, smjpeg, to 'pipe:1':\n[info]   Stream #0:0: Audio: pcm_s16le, mono\n"
    )
    assert len(facts(MOVIE + output).tracks) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"[tta @ 0x55ac] [error] Codec (tta) not on whitelist 'aac'\n",
        b"[error] Decoder (codec none) not found for input stream #0:1\n",
        b"[aist#0:1/none @ 0x5584] [error] Decoding requested, but no decoder found for: x\n",
    ],
)
def test_a_track_without_a_decoder(line: bytes) -> None:
    assert not facts(line + MOVIE).lacks_decoder  # probing
    assert facts(MOVIE + line).lacks_decoder


def test_a_cover_picture_is_no_video() -> None:
    log = facts(b"[info]   Stream #0:1: Video: mjpeg, 300x300 (attached pic)\n")
    assert log.n_streams == 0


def test_an_unknown_length_is_known_to_be_unknown() -> None:
    log = facts(b"[info]   Duration: N/A, bitrate: 1411 kb/s\n")
    assert log.has_duration_line
    assert log.duration is None


def test_an_error_after_the_header_is_damage() -> None:
    line = b"[aist#0:0/aac @ 0x55] [dec:aac @ 0x5a] [error] Error submitting packet to decoder\n"
    assert facts(MOVIE + line).is_damaged


def test_tags_cannot_pose_as_facts() -> None:
    tags = (
        b"[info]     title           :   Duration: 99:00:00.00, start\n"
        b"[info]                     :   Stream #0:0: Audio: mp3\n"
        b"[info]     comment         : [error] moov atom not found\n"
    )
    log = facts(b"[info] Input #0, mp3, from 'x':\n" + tags)
    assert log.duration is None
    assert log.tracks == []
    assert not log.is_damaged
    assert not log.lacks_index


def test_why_a_file_was_refused() -> None:
    assert facts(b"[hls @ 0x55b3] [error] Format not on whitelist 'wav'\n").is_refused
    assert not facts(b"[h264 @ 0x55b3] [error] Codec (h264) not on whitelist 'aac'\n").is_refused
    assert facts(b"[mov @ 0x562e] [error] moov atom not found\n").lacks_index


def test_memory_is_bounded_whatever_is_written() -> None:
    log = FfmpegLog()
    for _ in range(100):
        log.feed(b"x" * 10_000)
    for _ in range(100):
        log.feed(b"y" * 10_000 + b"\n")
    assert sum(map(len, log.tail)) <= 20 * 1024


@given(st.lists(st.integers(0, len(MOVIE)), max_size=10))
def test_facts_do_not_depend_on_how_the_text_was_cut(cuts: list[int]) -> None:
    log, edges = FfmpegLog(), [0, *sorted(cuts), len(MOVIE)]
    for a, b in pairwise(edges):
        log.feed(MOVIE[a:b])
    assert (log.duration, len(log.tracks), log.n_streams) == (3723.5, 1, 2)
    assert list(log.tail) == MOVIE.decode().splitlines()
