import numpy as np
import pytest

from tests.api.fakes import level, wav
from whisper_service.client.failure import ClientFailure
from whisper_service.client.sources import file_frames, microphone_command, to_s16le


async def test_a_file_comes_as_frames_of_its_samples(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(level(20)))
    frames = [frame async for frame in file_frames(path, speed=100)]
    assert [len(frame) for frame in frames] == [6400] * 5
    assert set(np.frombuffer(b"".join(frames), "<i2")) <= {6553, 6554}


async def test_what_is_no_audio_is_told_with_its_name(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("not audio")
    with pytest.raises(ClientFailure, match=r"a\.txt: The file cannot be decoded") as failure:
        _ = [frame async for frame in file_frames(path, speed=1)]
    assert failure.value.code == 4


async def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ClientFailure, match="No such file"):
        _ = [frame async for frame in file_frames(tmp_path / "none.wav", speed=1)]


@pytest.mark.parametrize(
    ("device", "platform", "asked"),
    [
        ("default", "linux", ["-f", "pulse", "-i", "default"]),
        ("default", "darwin", ["-f", "avfoundation", "-i", ":0"]),
        ("alsa:hw:1,0", "linux", ["-f", "alsa", "-i", "hw:1,0"]),
    ],
)
def test_the_microphone_is_named_as_ffmpeg_knows_it(device, platform, asked):
    command = microphone_command("ffmpeg", device, platform)
    start = command.index("-f")
    assert command[start : start + 4] == asked


def test_samples_beyond_full_scale_are_clipped():
    assert to_s16le(np.array([2.0, -2.0], np.float32)) == b"\xff\x7f\x00\x80"
