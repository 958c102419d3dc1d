"""Plain wav files are read without ffmpeg: the same samples, and all else is left to it."""

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.audio.make import run_ffmpeg
from tests.speech import DATA_DIR
from whisper_service.audio import decode
from whisper_service.audio.decode import DecodeLimits, open_audio
from whisper_service.audio.wav import open_plain_wav
from whisper_service.types import Audio

LIMITS = DecodeLimits(max_seconds=60, min_seconds=0.1, timeout=30)
RECORDING = DATA_DIR / "english.wav"


def wav_bytes(
    rate: int = 16_000, n_channels: int = 1, n_bytes: int = 2, n_frames: int = 8064
) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setnchannels(n_channels)
        writer.setsampwidth(n_bytes)
        writer.setframerate(rate)
        writer.writeframes(bytes(range(256)) * (n_frames * n_channels * n_bytes // 256))
    return buffer.getvalue()


async def decoded(path: Path) -> tuple[Audio, list[str], float | None]:
    with path.open("rb") as file:
        async with open_audio(file, LIMITS) as audio:
            blocks = [block async for block in audio.blocks()]
            return np.concatenate(blocks), audio.warnings, audio.duration_hint


async def test_a_plain_wav_gives_the_samples_ffmpeg_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(decode, "open_plain_wav", lambda file: None)
        by_ffmpeg, _, hint = await decoded(RECORDING)
    monkeypatch.delattr(decode, "run_ffmpeg")
    plain, warnings, own_hint = await decoded(RECORDING)
    assert np.array_equal(plain, by_ffmpeg)
    assert warnings == []
    assert own_hint == pytest.approx(hint, abs=0.01)


async def test_chunks_after_the_audio_are_not_heard(tmp_path: Path) -> None:
    body = wav_bytes() + b"LIST" + struct.pack("<I", 400) + bytes(range(200)) * 2
    path = tmp_path / "tagged.wav"
    path.write_bytes(body[:4] + struct.pack("<I", len(body) - 8) + body[8:])
    samples, warnings, _ = await decoded(path)
    assert len(samples) == 8064
    assert warnings == []


def test_what_is_not_plain_is_left_to_ffmpeg(tmp_path: Path) -> None:
    plain = wav_bytes()
    others = {
        "another rate": wav_bytes(rate=8000),
        "stereo": wav_bytes(n_channels=2),
        "24 bits": wav_bytes(n_bytes=3),
        "cut off": plain[:-2000],
        "written to a pipe": plain[:4] + b"\xff" * 4 + plain[8:40] + b"\xff" * 4 + plain[44:],
        "no audio": wav_bytes(n_frames=0),
        "a header and no more": plain[:20],
        "no wav": b"ID3" + bytes(2000),
    }
    path = tmp_path / "file"
    for name, data in others.items():
        path.write_bytes(data)
        with path.open("rb") as file:
            assert open_plain_wav(file) is None, name


async def test_a_float_wav_is_still_decoded(tmp_path: Path) -> None:
    path = tmp_path / "float.wav"
    run_ffmpeg("-i", str(RECORDING), "-c:a", "pcm_f32le", str(path))
    samples, _, _ = await decoded(path)
    plain, _, _ = await decoded(RECORDING)
    assert np.abs(samples - plain).max() < 1e-4
