"""An upload reaches nothing but itself: no other file, no address."""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from whisper_service import errors
from whisper_service.audio.container import open_container
from whisper_service.audio.decode import DecodeLimits, open_audio

from . import lures
from .conftest import Files
from .make import CLICKS, click_times, run_ffmpeg

LURES = [lures.hls, lures.encrypted_hls, lures.asx, lures.concat, lures.dash, lures.sdp]


class Listener:
    """A server that counts who calls, and hangs up."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.n_calls = 0
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/sound.ts"
        self._thread = Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        with suppress(OSError):  # the server was shut down
            while True:
                caller, _ = self._server.accept()
                self.n_calls += 1
                caller.close()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.close()


async def refusal(path: Path, limits: DecodeLimits) -> errors.ServiceError:
    with pytest.raises(errors.InvalidAudio) as caught, path.open("rb") as file:
        async with open_audio(file, limits):
            pass
    return caught.value


@pytest.mark.usefixtures("each_ffmpeg")
@pytest.mark.parametrize("lure", LURES)
async def test_a_list_of_files_opens_none(
    lure: Callable[[str], bytes], files: Files, tmp_path: Path, limits: DecodeLimits
) -> None:
    playlist = lures.write(tmp_path / "list", lure(str(files.path("video.ts"))))
    assert type(await refusal(playlist, limits)) is errors.UndecodableAudio


@pytest.mark.usefixtures("each_ffmpeg")
@pytest.mark.parametrize("lure", LURES)
async def test_a_list_of_addresses_calls_none(
    lure: Callable[[str], bytes], listener: Listener, tmp_path: Path, limits: DecodeLimits
) -> None:
    playlist = lures.write(tmp_path / "list", lure(listener.url))
    assert type(await refusal(playlist, limits)) is errors.UndecodableAudio
    assert listener.n_calls == 0


@pytest.mark.usefixtures("each_ffmpeg")
async def test_a_movie_whose_sound_lies_elsewhere_stays_silent(
    files: Files, tmp_path: Path, limits: DecodeLimits
) -> None:
    whole = files.path("pcm.mov", "-c:a", "pcm_s16le")
    hollow = lures.write(tmp_path / "hollow.mov", lures.mov(str(whole), whole.read_bytes()))
    assert isinstance(await refusal(hollow, limits), errors.InvalidAudio)


@pytest.mark.usefixtures("each_ffmpeg")
async def test_a_movie_whose_sound_lies_at_an_address_calls_none(
    files: Files, listener: Listener, tmp_path: Path, limits: DecodeLimits
) -> None:
    whole = files.path("pcm.mov", "-c:a", "pcm_s16le")
    hollow = lures.write(tmp_path / "hollow.mov", lures.mov(listener.url, whole.read_bytes()))
    assert isinstance(await refusal(hollow, limits), errors.InvalidAudio)
    assert listener.n_calls == 0


@pytest.mark.usefixtures("each_ffmpeg")
@pytest.mark.parametrize("lure", LURES)
async def test_a_list_in_a_live_stream_opens_and_calls_nothing(
    lure: Callable[[str], bytes], files: Files, listener: Listener
) -> None:
    for target in (str(files.path("video.ts")), listener.url):
        async with open_container(max_wait=30, cpu_seconds=30) as container:
            await container.feed(lure(target))
            container.end()
            with pytest.raises(errors.InvalidAudio):
                assert [block async for block in container.blocks()] == []
    assert listener.n_calls == 0


class TestWithoutTheAllowList:
    """The lures are real: an ffmpeg that may do as it likes follows them."""

    RAW = ("-f", "s16le", "-ac", "1", "-ar", "16000", "-")

    @pytest.mark.parametrize("lure", [lures.hls, lures.concat])
    def test_lists_open_files(
        self, lure: Callable[[str], bytes], files: Files, tmp_path: Path
    ) -> None:
        playlist = lures.write(tmp_path / "list.m3u8", lure(str(files.path("video.ts"))))
        safe = ("-safe", "0") if lure is lures.concat else ()
        assert len(run_ffmpeg(*safe, "-i", playlist, *self.RAW)) > 32_000

    def test_playlists_call_addresses(self, listener: Listener, tmp_path: Path) -> None:
        playlist = lures.write(tmp_path / "list.m3u8", lures.hls(listener.url))
        everything = ("-protocol_whitelist", "file,http,tcp")
        with pytest.raises(Exception, match="returned non-zero"):
            run_ffmpeg(*everything, "-i", playlist, *self.RAW)
        assert listener.n_calls > 0

    def test_movies_open_files(self, files: Files, tmp_path: Path) -> None:
        whole = files.path("pcm.mov", "-c:a", "pcm_s16le")
        hollow = lures.write(tmp_path / "hollow.mov", lures.mov(str(whole), whole.read_bytes()))
        open_all = ("-enable_drefs", "1", "-use_absolute_path", "1")
        heard = np.frombuffer(run_ffmpeg(*open_all, "-i", hollow, *self.RAW), "<i2") / 32768
        assert click_times(heard.astype(np.float32)) == pytest.approx(CLICKS, abs=0.01)
