"""Files to decode, each made once, and both ffmpegs to decode them with."""

import shutil
from pathlib import Path

import pytest

from whisper_service.audio import ffmpeg_process
from whisper_service.audio.decode import DecodeLimits

from .make import click_track, run_ffmpeg, with_video, write_wav

SHARED_AUDIO = Path(__file__).parents[2].parent / "shared" / "audio"


@pytest.fixture
def limits() -> DecodeLimits:
    return DecodeLimits(max_seconds=3600, min_seconds=0.1, timeout=30)


@pytest.fixture(scope="session")
def clicks_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("clicks") / "clicks.wav", click_track())


class Files:
    """The click track in any container, made when first asked for."""

    def __init__(self, wav: Path) -> None:
        self._wav = wav

    def path(self, name: str, *options: str) -> Path:
        """A file NAME.EXTENSION; a NAME that begins with `video` has a picture too."""
        target = self._wav.with_name(name)
        if target.exists():
            return target
        if name.startswith("video"):
            return with_video(self._wav, target, *options)
        run_ffmpeg("-i", self._wav, *options, target)
        return target


@pytest.fixture(scope="session")
def files(clicks_wav: Path) -> Files:
    return Files(clicks_wav)


@pytest.fixture(params=["system", "bundled"])
def each_ffmpeg(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs the test with the ffmpeg of the system and with that of imageio-ffmpeg."""
    if request.param == "system":
        path = shutil.which("ffmpeg")
    else:
        path = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    if path is None:
        pytest.skip("no ffmpeg is installed on this system")
    monkeypatch.setattr(ffmpeg_process, "find_ffmpeg", lambda: path)
    return str(path)


@pytest.fixture
def shared_audio() -> Path:
    if not SHARED_AUDIO.is_dir():
        pytest.skip("real speech to test with is not there")
    return SHARED_AUDIO
