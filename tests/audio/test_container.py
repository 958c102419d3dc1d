"""Containers as live streams, made by a real ffmpeg and cut anywhere."""

import asyncio
import itertools

import numpy as np
import pytest

from whisper_service.audio.container import Container, open_container
from whisper_service.errors import NoAudioTrack, UndecodableAudio
from whisper_service.types import SAMPLE_RATE

from .make import CLICKS, click_times, run_ffmpeg

NAMES = ["c.webm", "c.ogg", "c.mp3", "c.aac", "c.wav", "c.flac", "c.ts", "c.mkv"]
LIVE = {"max_wait": 20, "cpu_seconds": 60}
FRAGMENTED = ("-movflags", "frag_keyframe+empty_moov", "-frag_duration", "200000")


def pieces(data: bytes, seed: int) -> list[bytes]:
    """Cut at random places, some inside a header."""
    random = np.random.default_rng(seed)
    cuts = [0, *sorted(random.integers(1, len(data), 40)), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(cuts)]


async def feed(container: Container, parts: list[bytes]) -> None:
    for part in parts:
        await container.feed(part)
    container.end()


async def decoded(parts: list[bytes]) -> np.ndarray:
    async with open_container(**LIVE) as container:
        feeding = asyncio.create_task(feed(container, parts))
        blocks = [block async for block in container.blocks()]
        await feeding
    return np.concatenate([np.zeros(0), *blocks])


@pytest.mark.parametrize("name", NAMES)
async def test_any_cut_of_any_container_gives_its_sound(files, name, each_ffmpeg) -> None:
    data = files.path(name).read_bytes()
    samples = await decoded(pieces(data, seed=len(name)))
    assert len(samples) / SAMPLE_RATE == pytest.approx(3.0, abs=0.1)
    assert click_times(samples) == pytest.approx(CLICKS, abs=0.06)
    assert np.array_equal(samples, await decoded([data]))


async def test_sound_whose_format_changes_is_not_late(clicks_wav, each_ffmpeg) -> None:
    encode = ("-ar", "48000", "-c:a", "ac3", "-f", "mpegts", "-")
    parts = [run_ffmpeg("-i", clicks_wav, "-ac", channels, *encode) for channels in ("6", "2")]
    samples = await decoded(parts)
    assert click_times(samples) == pytest.approx([*CLICKS, *(t + 3 for t in CLICKS)], abs=0.06)


async def test_fragmented_mp4_is_read_as_it_comes(files) -> None:
    data = files.path("c.mp4", *FRAGMENTED).read_bytes()
    samples = await decoded(pieces(data, seed=1))
    assert click_times(samples) == pytest.approx(CLICKS, abs=0.06)


async def test_sound_comes_before_the_end_is_known(clicks_wav) -> None:
    """As from a microphone: the file is not finished yet, its text cannot wait for that."""
    data = run_ffmpeg("-i", clicks_wav, "-f", "webm", "-c:a", "libopus", "-live", "1", "-")
    async with asyncio.timeout(20), open_container(**LIVE) as container:
        await container.feed(data[: len(data) * 2 // 3])
        blocks, n_samples = container.blocks(), 0
        while n_samples < SAMPLE_RATE:
            n_samples += len(await anext(blocks))
        await blocks.aclose()


async def test_what_is_broken_off_gives_what_there_is(files) -> None:
    data = files.path("c.mp3").read_bytes()
    samples = await decoded([data[: len(data) // 2]])
    assert len(samples) / SAMPLE_RATE == pytest.approx(1.5, abs=0.2)


async def test_nothing_is_no_error() -> None:
    assert len(await decoded([])) == 0


async def test_garbage_is_refused(no_child_left) -> None:
    with pytest.raises(UndecodableAudio, match="not in an audio format"):
        await decoded([np.random.default_rng(1).bytes(50_000)])


@pytest.mark.parametrize("n_times", ["3", "39"])
async def test_mp4_whose_index_comes_last_is_refused_as_that(
    n_times, clicks_wav, tmp_path, each_ffmpeg
) -> None:
    short = tmp_path / "short.m4a"
    run_ffmpeg("-i", clicks_wav, short)
    target = tmp_path / "long.m4a"  # of a short one, ffmpeg has the index before it needs it
    run_ffmpeg("-stream_loop", n_times, "-i", short, "-c", "copy", target)
    with pytest.raises(UndecodableAudio, match="index"):
        await decoded([target.read_bytes()])


async def test_video_without_sound_is_refused(clicks_wav, tmp_path) -> None:
    target = tmp_path / "silent.webm"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=64x48:r=10", target)
    with pytest.raises(NoAudioTrack):
        await decoded([target.read_bytes()])


async def test_a_list_of_other_files_is_refused(tmp_path, clicks_wav) -> None:
    playlist = f"#EXTM3U\n#EXTINF:3,\nfile://{clicks_wav}\n#EXT-X-ENDLIST\n".encode()
    with pytest.raises(UndecodableAudio):
        await decoded([playlist])


async def test_leaving_early_leaves_no_process(files, no_child_left) -> None:
    async with open_container(**LIVE) as container:
        await container.feed(files.path("c.webm").read_bytes())


async def test_who_does_not_read_holds_up_who_feeds(clicks_wav) -> None:
    """Two minutes of sound are more than the pipes and two asyncio buffers keep."""
    data = run_ffmpeg("-stream_loop", "39", "-i", clicks_wav, "-f", "wav", "-")
    async with open_container(**LIVE) as container:
        feeding = asyncio.create_task(feed(container, pieces(data, seed=2)))
        _, waiting = await asyncio.wait({feeding}, timeout=3)
        assert waiting == {feeding}
        samples = np.concatenate([block async for block in container.blocks()])
        await feeding
    assert len(samples) / SAMPLE_RATE == pytest.approx(120, abs=0.1)
