"""Time stamps in, positions out: no ffmpeg, only the form in which it hands packets over."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_service.audio.timeline import Timeline

HEADER = b"\0\nSMJPEG" + bytes(8) + b"_SND" + (8).to_bytes(4) + bytes(8) + b"HEND"
N = 320
"""Samples of a packet, 20 ms."""
SECOND = 16_000


def packet(stamp: int, n_samples: int = N) -> bytes:
    data = np.full(n_samples, 7, "<i2").tobytes()
    return b"sndD" + (stamp % 2**32).to_bytes(4) + len(data).to_bytes(4) + data


def placed(stamps: list[int], container: str = "matroska", max_gap_seconds: float = 60) -> bytes:
    timeline = Timeline(container, max_gap_seconds=max_gap_seconds)
    timeline.feed(HEADER + b"".join(packet(stamp) for stamp in stamps))
    return timeline.take(1_000_000)


def begins(samples: bytes) -> list[int]:
    """Where stretches of sound begin."""
    is_sound = np.frombuffer(b"\0\0" + samples, "<i2") != 0
    return np.flatnonzero(np.diff(is_sound.astype(int)) == 1).tolist()


def run_of(n_packets: int, start: int = 0) -> list[int]:
    return [start + N * n for n in range(n_packets)]


ALL_KINDS = pytest.mark.parametrize("container", ["wav", "ogg", "mpegts", "matroska"])


@ALL_KINDS
def test_packets_on_time_are_joined(container: str) -> None:
    assert len(placed(run_of(5), container)) == 5 * N * 2


@ALL_KINDS
def test_a_late_beginning_is_silence(container: str) -> None:
    assert begins(placed(run_of(2, 8000), container)) == [8000]


def test_what_lies_before_the_beginning_is_dropped() -> None:
    assert len(placed(run_of(5, -1000))) == (5 * N - 1000) * 2


@pytest.mark.parametrize("container", ["mpegts", "matroska"])
def test_a_gap_is_silence(container: str) -> None:
    stamps = [*run_of(5), *run_of(5, SECOND)]
    assert begins(placed(stamps, container)) == [0, SECOND]


def test_lost_packets_are_made_up_for_once_they_are_a_tenth_of_a_second() -> None:
    lossy = [stamp for stamp in run_of(50) if stamp // N % 5 != 4]
    assert len(placed(lossy)) // 2 == pytest.approx(50 * N, abs=SECOND // 10)


@pytest.mark.parametrize("container", ["mp3", "ogg", "mpegts"])
@pytest.mark.parametrize("share", [44_100 / 48_000, 2, 48_000 / 8000])
def test_stamps_counted_at_another_rate_make_no_gaps(container: str, share: float) -> None:
    wrong = [round(5 * N + N * share * n) for n in range(100)]
    assert len(placed([*run_of(5), *wrong], container)) == 105 * N * 2


@pytest.mark.parametrize("leap", [-3 * SECOND, 61 * SECOND, 2 * 3600 * SECOND, 100 * 3600 * SECOND])
def test_a_leap_of_the_clock_is_taken_out_and_what_follows_is_still_placed(leap: int) -> None:
    after = 5 * N + leap
    stamps = [*run_of(5), *run_of(5, after), *run_of(5, after + SECOND)]
    assert begins(placed(stamps)) == [0, 5 * N + SECOND]


def test_stamps_may_go_round() -> None:
    stamps = run_of(5, 2**32 - 2 * N)
    assert len(placed(stamps)) == 3 * N * 2  # the first two lie before 0


def test_a_long_gap_costs_no_memory() -> None:
    timeline = Timeline("matroska", max_gap_seconds=3600)
    timeline.feed(HEADER + packet(0) + packet(3600 * SECOND))
    n_bytes = 0
    while piece := timeline.take(1000):
        assert len(piece) <= 1000
        n_bytes += len(piece)
    assert n_bytes == (3600 * SECOND + N) * 2


@given(st.lists(st.integers(0, 3000), max_size=10))
def test_samples_do_not_depend_on_how_the_bytes_were_cut(cuts: list[int]) -> None:
    stamps = [*run_of(2, 100), *run_of(2, SECOND)]
    data = HEADER + b"".join(map(packet, stamps))
    timeline, out = Timeline("matroska", max_gap_seconds=60), b""
    for a, b in pairwise([0, *sorted(cuts), len(data)]):
        timeline.feed(data[a:b])
        while piece := timeline.take(777):
            out += piece
    assert out == placed(stamps)
