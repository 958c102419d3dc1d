from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from whisper_service.audio.ffmpeg_log import FfmpegLog

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
    assert log.has_audio
    assert log.has_video
    assert not log.is_damaged  # what went wrong before is only probing


def test_a_cover_picture_is_no_video() -> None:
    log = facts(b"[info]   Stream #0:1: Video: mjpeg, 300x300 (attached pic)\n")
    assert not log.has_video


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
    assert not log.has_audio
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
    assert (log.duration, log.has_audio, log.has_video) == (3723.5, True, True)
    assert list(log.tail) == MOVIE.decode().splitlines()
