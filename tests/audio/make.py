"""Audio made to measure: clicks at known times, and any container of them, by ffmpeg."""

import subprocess
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

from whisper_service.audio.ffmpeg import find_ffmpeg
from whisper_service.types import SAMPLE_RATE, Audio

Target = TypeVar("Target", Path, IO[bytes])

CLICKS = (0.5, 1.5, 2.5)


def click_track(
    seconds: float = 3.0, clicks: Sequence[float] = CLICKS, rate: int = 44_100
) -> Audio:
    """A quiet 220 Hz tone, so that no codec sees silence, with 20 ms of loud 1 kHz at `clicks`."""
    time = np.arange(round(seconds * rate)) / rate
    samples = 0.02 * np.sin(2 * np.pi * 220 * time)
    for click in clicks:
        inside = (time >= click) & (time < click + 0.02)
        samples[inside] += 0.8 * np.sin(2 * np.pi * 1000 * (time[inside] - click))
    return samples.astype(np.float32)


def click_times(samples: Audio) -> list[float]:
    """Seconds at which loud parts begin."""
    loud = np.flatnonzero(np.abs(samples) > 0.3)
    begins = np.concatenate(([True], np.diff(loud) > SAMPLE_RATE // 10)) if len(loud) else []
    return [float(at) / SAMPLE_RATE for at in loud[begins]]


def write_wav(target: Target, samples: Audio, rate: int = 44_100, channels: int = 2) -> Target:
    """Write 16-bit PCM, the same in all channels."""
    with wave.open(str(target) if isinstance(target, Path) else target, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.repeat(np.round(samples * 32767).astype("<i2"), channels).tobytes())
    return target


def run_ffmpeg(*args: str | Path) -> bytes:
    """Run ffmpeg with nothing forbidden, and return its stdout."""
    command = [find_ffmpeg(), "-nostdin", "-v", "error", "-y", *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def with_video(sound: Path, target: Path, *options: str) -> Path:
    """`sound` with a small moving picture of the same length."""
    picture = ("-f", "lavfi", "-i", "testsrc=d=3:s=64x48:r=10")
    run_ffmpeg(*picture, *options, "-i", sound, "-map", "0", "-map", "1", target)
    return target
