from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_service.audio.pcm import PcmReader
from whisper_service.types import Encoding, PcmFormat

from .make import run_ffmpeg


def read(encoding: Encoding, data: bytes, channels: int = 1) -> list[float]:
    return [float(x) for x in PcmReader(PcmFormat(encoding, 16_000, channels)).read(data)]


def test_16_bit_samples_are_fractions_of_full_scale() -> None:
    data = np.array([0, 1, -32768, 16384], "<i2").tobytes()
    assert read(Encoding.PCM_S16LE, data) == [0.0, 1 / 32768, -1.0, 0.5]


def test_float_samples_are_taken_as_they_are() -> None:
    data = np.array([0.25, -1.0, 1.0], "<f4").tobytes()
    assert read(Encoding.PCM_F32LE, data) == [0.25, -1.0, 1.0]


def test_floats_that_are_no_sound_are_silenced_or_clipped() -> None:
    data = np.array([np.nan, np.inf, -np.inf, 1e30, -7.0], "<f4").tobytes()
    assert read(Encoding.PCM_F32LE, data) == [0.0, 1.0, -1.0, 1.0, -1.0]


def test_channels_are_averaged() -> None:
    data = np.array([[0.5, 0.25, 0.0], [-1.0, 1.0, 0.75]], "<f4").tobytes()
    assert read(Encoding.PCM_F32LE, data, channels=3) == [0.25, 0.25]


@pytest.mark.parametrize("encoding", [Encoding.MULAW, Encoding.ALAW])
def test_g711_bytes_decode_as_ffmpeg_decodes_them(encoding: Encoding, tmp_path) -> None:
    every_byte = bytes(range(256))
    (tmp_path / "bytes").write_bytes(every_byte)
    raw = run_ffmpeg("-f", encoding, "-ar", "8000", "-i", tmp_path / "bytes", "-f", "s16le", "-")
    assert read(encoding, every_byte) == [x / 32768 for x in np.frombuffer(raw, "<i2")]


def test_g711_ends_of_the_scale_are_those_of_the_standard() -> None:
    mulaw = [x * 32768 for x in read(Encoding.MULAW, b"\x00\x80\x7f\xff")]
    alaw = [x * 32768 for x in read(Encoding.ALAW, b"\x2a\xaa\x55\xd5")]
    assert mulaw == [-32124, 32124, 0, 0]
    assert alaw == [-32256, 32256, -8, 8]


def test_half_a_sample_waits_for_its_other_half() -> None:
    reader = PcmReader(PcmFormat())
    assert len(reader.read(b"\x00\x40\x00")) == 1
    assert reader.pending_bytes == 1
    assert reader.read(b"\xc0").tolist() == [-0.5]
    assert reader.pending_bytes == 0


def test_half_a_frame_waits_for_its_other_channel() -> None:
    reader = PcmReader(PcmFormat(channels=2))
    assert len(reader.read(b"\x00\x40")) == 0
    assert reader.pending_bytes == 2
    assert reader.read(b"\x00\x00").tolist() == [0.25]


@given(
    data=st.binary(max_size=400),
    encoding=st.sampled_from(Encoding),
    channels=st.integers(1, 9),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_samples_do_not_depend_on_how_the_bytes_were_cut(
    data: bytes, encoding: Encoding, channels: int, cuts: list[int]
) -> None:
    whole = PcmReader(PcmFormat(encoding, 16_000, channels))
    in_parts = PcmReader(PcmFormat(encoding, 16_000, channels))
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [in_parts.read(data[a:b]) for a, b in pairwise(edges)]
    assert np.concatenate(parts).tolist() == whole.read(data).tolist()
    assert in_parts.pending_bytes == whole.pending_bytes
