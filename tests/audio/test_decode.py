import asyncio
import itertools
import shutil
import struct
import subprocess
import tempfile
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from whisper_service import errors
from whisper_service.audio import ffmpeg, ffmpeg_process
from whisper_service.audio.decode import AudioFile, DecodeLimits, best_tracks, open_audio
from whisper_service.audio.ffmpeg import INPUT_FORMATS, find_ffmpeg
from whisper_service.audio.ffmpeg_log import AudioTrack
from whisper_service.types import Audio

from .conftest import Files
from .make import CLICKS, click_times, click_track, run_ffmpeg, write_wav

CONTAINERS = [
    ("a.wav",),
    ("float.wav", "-c:a", "pcm_f32le"),
    ("mulaw.wav", "-c:a", "pcm_mulaw", "-ar", "8000"),
    ("a.flac",),
    ("a.aiff",),
    ("a.mp3",),
    ("no_header.mp3", "-write_xing", "0"),
    ("a.aac",),
    ("index_at_end.m4a",),
    ("index_at_start.m4a", "-movflags", "+faststart"),
    ("fragments.mp4", "-movflags", "+frag_keyframe+empty_moov"),
    ("vorbis.ogg", "-c:a", "libvorbis"),
    ("a.opus",),
    ("a.webm",),
    ("a.mka",),
    ("a.avi",),
    ("video.mp4",),
    ("video.mov",),
    ("video.webm",),
    ("video.mkv",),
    ("video.ts",),
]
EXPERIMENTAL = ("-strict", "-2", "-ar", "48000", "-c:a")
PHONE = ("-ac", "1", "-ar", "8000", "-c:a")
PROMISED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("wav", "mp3", "m4a", "flac", "opus", "aac", "aiff", "caf", "au", "wma"), ()),
    **dict.fromkeys(("ac3", "tta", "wv", "mp4", "mov", "mkv", "webm", "avi", "mpg", "ts"), ()),
    "ogg": ("-c:a", "libvorbis"),
    "amr": (*PHONE, "libopencore_amrnb"),
    "dts": (*EXPERIMENTAL, "dca"),
    "truehd": (*EXPERIMENTAL, "truehd", "-f", "truehd"),
    "voc": ("-ac", "1", "-c:a", "pcm_s16le"),
    "gsm": (*PHONE, "libgsm"),
    "flv": ("-ar", "44100"),
    "wmv": ("-c:v", "wmv2"),
    "mxf": ("-c:v", "mpeg2video", "-r", "25", "-ar", "48000"),
}
"""How to make each of the formats in `INPUT_FORMATS`."""
VIDEO = ("mp4", "mov", "mkv", "webm", "avi", "flv", "wmv", "mpg", "ts", "mxf")
CLOSE = 0.03
"""Seconds: encoders of formats without a gapless tag start up to 25 ms early or late."""


@asynccontextmanager
async def opened(
    path: Path, limits: DecodeLimits, audio_track: int | None = None
) -> AsyncIterator[AudioFile]:
    with path.open("rb") as file:
        opening = open_audio(file, limits, audio_track=audio_track)
        async with asyncio.timeout(30), opening as audio:
            yield audio


async def decoded(
    path: Path, limits: DecodeLimits, audio_track: int | None = None
) -> tuple[Audio, list[str]]:
    async with opened(path, limits, audio_track) as audio:
        blocks = [block async for block in audio.blocks()]
        return np.concatenate(blocks), audio.warnings


async def failure(
    path: Path, limits: DecodeLimits, audio_track: int | None = None
) -> errors.ServiceError:
    with pytest.raises(errors.ServiceError) as caught:
        await decoded(path, limits, audio_track)
    assert "/" not in caught.value.message, "paths are not for clients"
    return caught.value


def part_of(path: Path, share: float) -> Path:
    """The first `share` of a file's bytes, as an upload that broke off."""
    data = path.read_bytes()
    target = path.with_name(f"part_of_{path.name}")
    target.write_bytes(data[: round(len(data) * share)])
    return target


# --- what comes out


@pytest.mark.usefixtures("each_ffmpeg", "no_child_left")
@pytest.mark.parametrize("made", CONTAINERS, ids=lambda made: made[0])
async def test_sound_is_where_it_was_in_any_container(
    made: tuple[str, ...], files: Files, limits: DecodeLimits
) -> None:
    samples, warnings = await decoded(files.path(*made), limits)
    assert click_times(samples) == pytest.approx(CLICKS, abs=CLOSE)
    assert len(samples) / 16_000 == pytest.approx(3, abs=0.06)
    assert samples.dtype == np.float32
    assert warnings == []


@pytest.mark.parametrize("name", ["jfk.flac", "jfk.mp3"])
async def test_samples_are_those_openai_whisper_would_load(
    name: str, shared_audio: Path, limits: DecodeLimits
) -> None:
    samples, _ = await decoded(shared_audio / name, limits)
    np.testing.assert_array_equal(samples * 32768, plain(find_ffmpeg(), shared_audio / name))


def encoder_of(codec: str) -> str:
    """An ffmpeg that can write it: the builds leave out one or another."""
    candidates = [shutil.which("ffmpeg"), pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()]
    for program in filter(None, candidates):
        known = subprocess.run([program, "-encoders"], capture_output=True, text=True).stdout
        if f" {codec} " in known:
            return program
    pytest.skip(f"no ffmpeg here can write {codec}")


@pytest.mark.parametrize("kind", PROMISED)
async def test_every_promised_format_is_what_plain_ffmpeg_makes_of_it(
    kind: str, clicks_wav: Path, limits: DecodeLimits, each_ffmpeg: str
) -> None:
    path, options = clicks_wav.with_name(f"promised.{kind}"), PROMISED[kind]
    codec = options[options.index("-c:a") + 1] if "-c:a" in options else "flac"
    picture = ("-f", "lavfi", "-i", "testsrc=d=3:s=128x96:r=25") if kind in VIDEO else ()
    command = [encoder_of(codec), "-v", "error", "-y", *picture, "-i", clicks_wav, *options, path]
    subprocess.run(command, check=True)  # noqa: ASYNC221 - nothing else runs
    samples, warnings = await decoded(path, limits)
    wanted = plain(each_ffmpeg, path)
    begin = len(samples) - len(wanted)
    assert 0 <= begin < 1600, (
        "where stamps have the sound begin after 0, ffmpeg alone leaves it out"
    )
    np.testing.assert_array_equal(samples[begin:] * 32768, wanted)
    assert len(click_times(samples)) == len(CLICKS)
    assert warnings == []


def test_the_formats_that_users_are_told_are_those_tested() -> None:
    told = INPUT_FORMATS.replace(" and the sound of", "").replace(" and ", ", ").split(", ")
    assert sorted(told) == sorted(PROMISED)
    text = (Path(__file__).parents[2] / "docs/api.md").read_text()
    assert INPUT_FORMATS in " ".join(text.split())


@pytest.mark.usefixtures("each_ffmpeg")
@pytest.mark.parametrize("bits", [24, 32])
async def test_a_wav_of_24_bits_in_32_is_read(
    bits: int, tmp_path: Path, limits: DecodeLimits
) -> None:
    """Whole numbers, which ffmpeg alone takes for Cool Edit's floats, and decodes to noise."""
    header = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 44_100, 44_100 * 4, 4, bits, 22, 24, 4)
    header += bytes.fromhex("0100000000001000800000aa00389b71")
    data = (np.round(click_track() * 2**23).astype("<i4") * 256).tobytes()
    chunks = (b"JUNK", b"odd"), (b"fmt ", header), (b"data", data)
    body = b"WAVE"
    for name, content in chunks:
        body += name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    samples, warnings = await decoded(path, limits)
    assert click_times(samples) == pytest.approx(CLICKS, abs=CLOSE)
    wav16 = write_wav(tmp_path / "b.wav", click_track(), channels=1)
    np.testing.assert_allclose(samples, (await decoded(wav16, limits))[0], atol=1e-3)
    assert warnings == []


@pytest.mark.usefixtures("each_ffmpeg")
@pytest.mark.parametrize("name", ["video_late.mp4", "video_late.mkv"])
async def test_a_track_that_starts_late_is_heard_late(
    name: str, files: Files, limits: DecodeLimits
) -> None:
    samples, _ = await decoded(files.path(name, "-itsoffset", "0.5"), limits)
    assert click_times(samples) == pytest.approx([t + 0.5 for t in CLICKS], abs=CLOSE)


@pytest.mark.usefixtures("each_ffmpeg")
@pytest.mark.parametrize("name", ["gap.mka", "gap.m4a"])
async def test_a_gap_in_the_middle_is_silence_and_shifts_nothing(
    name: str, files: Files, limits: DecodeLimits
) -> None:
    cut = ("-af", "aselect='not(between(t,0.8,1.2))'")
    samples, _ = await decoded(files.path(name, *cut), limits)
    assert click_times(samples) == pytest.approx(CLICKS, abs=CLOSE)
    assert not samples[round(0.9 * 16_000) : round(1.1 * 16_000)].any()


@pytest.mark.usefixtures("each_ffmpeg")
@pytest.mark.parametrize(
    ("leap", "wanted"), [(600, [0.5, 601.5, 602.5]), (7200, CLICKS), (360_000, CLICKS)]
)
async def test_a_leap_of_the_clock_is_a_gap_up_to_an_hour(
    leap: int, wanted: list[float], files: Files, limits: DecodeLimits
) -> None:
    late = ("-af", f"asetpts='PTS+if(gt(T,1),SR*{leap},0)'")
    samples, _ = await decoded(files.path(f"leap_{leap}.mka", *late), limits)
    assert click_times(samples) == pytest.approx(wanted, abs=CLOSE)


@pytest.mark.usefixtures("each_ffmpeg")
@pytest.mark.parametrize("name", ["a.webm", "a.mka", "vorbis.ogg", "video.ts"])
async def test_recordings_joined_end_to_end_are_heard_to_the_end(
    name: str, files: Files, limits: DecodeLimits
) -> None:
    one = files.path(name)
    both = one.with_name(f"twice_{name}")
    both.write_bytes(one.read_bytes() * 2)
    samples, _ = await decoded(both, limits)
    again = [t + 3 for t in CLICKS]
    assert click_times(samples) == pytest.approx([*CLICKS, *again], abs=2 * CLOSE)


STEREO, FIVE_ONE = ("-ac", "2", "-ar", "48000"), ("-ac", "6", "-ar", "48000")
LOW, HIGH = ("-ac", "1", "-ar", "24000"), ("-ac", "2", "-ar", "44100")
CHANGES = [
    ("ts", "ac3", FIVE_ONE, STEREO),
    ("ts", "ac3", STEREO, FIVE_ONE),
    ("ts", "aac", HIGH, LOW),
    ("ts", "aac", LOW, HIGH),
    ("aac", "aac", HIGH, LOW),
    ("aac", "aac", LOW, HIGH),
    ("mp3", "libmp3lame", LOW, HIGH),
    ("mp2", "mp2", LOW, HIGH),
    ("ac3", "ac3", FIVE_ONE, STEREO),
    ("ogg", "libvorbis", LOW, HIGH),
    ("ogg", "libvorbis", HIGH, LOW),
]


def changing(made: tuple[str, str, tuple[str, ...], tuple[str, ...]], wav: Path) -> Path:
    """Two click tracks end to end whose sound has other channels or another rate."""
    kind, codec, *formats = made
    path = wav.with_name(f"changing.{kind}")
    muxer = {"ts": "mpegts", "aac": "adts"}.get(kind, kind)
    encode = ("-c:a", codec, "-f", muxer, "-")
    path.write_bytes(b"".join(run_ffmpeg("-i", wav, *format, *encode) for format in formats))
    return path


@pytest.mark.parametrize("made", CHANGES, ids=str)
async def test_sound_whose_format_changes_is_what_plain_ffmpeg_makes_of_it(
    made: tuple[str, str, tuple[str, ...], tuple[str, ...]],
    clicks_wav: Path,
    limits: DecodeLimits,
    each_ffmpeg: str,
) -> None:
    path = changing(made, clicks_wav)
    samples, warnings = await decoded(path, limits)
    wanted = plain(each_ffmpeg, path)
    assert len(wanted) >= 3 * 16_000
    if len(wanted) > 5 * 16_000 and path.suffix != ".mp3":  # in one, a tag counts as damage
        assert warnings == []
    np.testing.assert_array_equal(samples * 32768, wanted)


def plain(ffmpeg: str, path: Path) -> npt.NDArray[np.int16]:
    """What openai-whisper's `load_audio` takes from ffmpeg."""
    options = ("-f", "s16le", "-ac", "1", "-acodec", "pcm_s16le", "-ar", "16000", "-")
    command = [ffmpeg, "-nostdin", "-v", "quiet", "-i", str(path), *options]
    return np.frombuffer(subprocess.run(command, capture_output=True).stdout, "<i2")


@pytest.mark.usefixtures("each_ffmpeg")
async def test_a_gap_after_a_change_of_format_is_silence(
    clicks_wav: Path, limits: DecodeLimits
) -> None:
    encode = ("-c:a", "ac3", "-f", "mpegts", "-")
    cut = ("-af", "aselect='not(between(t,0.8,1.2))'")
    path = clicks_wav.with_name("change_and_gap.ts")
    first = run_ffmpeg("-i", clicks_wav, *FIVE_ONE, *encode)
    path.write_bytes(first + run_ffmpeg("-i", clicks_wav, *cut, *STEREO, *encode))
    samples, _ = await decoded(path, limits)
    again = [t + 3 for t in CLICKS]
    assert click_times(samples) == pytest.approx([*CLICKS, *again], abs=2 * CLOSE)


async def test_an_upload_in_memory_is_moved_to_the_disk(limits: DecodeLimits) -> None:
    with tempfile.SpooledTemporaryFile(max_size=10_000_000) as upload:
        write_wav(upload, click_track())
        async with open_audio(upload, limits) as audio:
            assert sum([len(block) async for block in audio.blocks()]) == 48_000


async def test_the_containers_length_is_known_before_the_audio(
    files: Files, limits: DecodeLimits
) -> None:
    async with opened(files.path("index_at_end.m4a"), limits) as audio:
        assert audio.duration_hint == pytest.approx(3, abs=0.05)


# --- several tracks


@pytest.fixture
def two_tracks(clicks_wav: Path) -> Path:
    """AAC, mono, clicks at 1 s alone; and lossless in 5.1, which is taken first."""
    other = write_wav(clicks_wav.with_name("other.wav"), click_track(clicks=[1.0]))
    path = clicks_wav.with_name("two.mp4")
    codecs = ("-c:a:0", "aac", "-ac:a:0", "1", "-c:a:1", "flac", "-ac:a:1", "6", "-strict", "-2")
    both = ("-disposition:a", "default", "-map", "0", "-map", "1")
    run_ffmpeg("-i", other, "-i", clicks_wav, *both, *codecs, path)
    return path


def renamed(path: Path, codec: bytes) -> Path:
    """The flac track said to be in another codec."""
    data = path.read_bytes()
    index = data.rfind(b"moov")
    target = path.with_name(f"{codec.decode()}.mp4")
    target.write_bytes(data[:index] + data[index:].replace(b"fLaC", codec, 1))
    return target


@pytest.mark.usefixtures("each_ffmpeg", "no_child_left")
async def test_of_several_tracks_the_best_that_can_be_decoded_is_taken(
    two_tracks: Path, limits: DecodeLimits
) -> None:
    samples, warnings = await decoded(two_tracks, limits)
    assert click_times(samples) == pytest.approx(CLICKS, abs=CLOSE)
    assert warnings == []
    samples, warnings = await decoded(renamed(two_tracks, b"zzzz"), limits)
    assert click_times(samples) == pytest.approx([1.0], abs=CLOSE)
    assert warnings == [
        "Audio track 1 (zzzz) cannot be decoded; track 0 (aac) was taken in its place."
    ]


@pytest.mark.usefixtures("each_ffmpeg")
async def test_a_codec_that_is_not_allowed_is_passed_over(
    clicks_wav: Path, limits: DecodeLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg, "DECODERS", ("aac",))
    path = clicks_wav.with_name("tta.mkv")
    tracks = ("-map", "0", "-map", "0", "-c:a:0", "aac", "-c:a:1", "tta", "-ac:a:1", "6")
    run_ffmpeg("-i", clicks_wav, *tracks, "-disposition:a", "default", path)
    samples, (warning,) = await decoded(path, limits)
    assert click_times(samples) == pytest.approx(CLICKS, abs=CLOSE)
    assert warning.startswith("Audio track 1 (tta)")


@pytest.mark.usefixtures("each_ffmpeg")
async def test_a_track_can_be_asked_for(two_tracks: Path, limits: DecodeLimits) -> None:
    samples, warnings = await decoded(two_tracks, limits, audio_track=0)
    assert click_times(samples) == pytest.approx([1.0], abs=CLOSE)
    assert warnings == []


@pytest.mark.usefixtures("each_ffmpeg", "no_child_left")
async def test_a_track_that_is_not_there(two_tracks: Path, limits: DecodeLimits) -> None:
    error = await failure(two_tracks, limits, audio_track=2)
    assert type(error) is errors.InvalidParameter
    assert error.details == {"param": "audio_track", "got": 2, "allowed": "0 to 1"}
    wav = write_wav(two_tracks.with_name("mono.wav"), click_track(rate=16_000), 16_000, channels=1)
    error = await failure(wav, limits, audio_track=1)
    assert error.message == "The file has no audio track 1; allowed is 0."


@pytest.mark.usefixtures("each_ffmpeg")
async def test_the_codec_that_cannot_be_decoded_is_named(
    two_tracks: Path, clicks_wav: Path, limits: DecodeLimits
) -> None:
    error = await failure(renamed(two_tracks, b"zzzz"), limits, audio_track=1)
    assert type(error) is errors.UndecodableAudio
    assert "in the codec zzzz" in error.message
    alone = clicks_wav.with_name("alone.mp4")
    run_ffmpeg("-i", clicks_wav, "-c:a", "flac", "-strict", "-2", alone)
    assert "in the codec yyyy" in (await failure(renamed(alone, b"yyyy"), limits)).message


def test_tracks_are_ranked_as_ffmpeg_ranks_them() -> None:
    tracks = [AudioTrack("aac", *of) for of in [(2, False), (6, False), (2, True), (1, True)]]
    assert best_tracks(tracks) == [2, 3, 1, 0]


# --- what is no audio


async def test_an_empty_file(tmp_path: Path, limits: DecodeLimits) -> None:
    (tmp_path / "empty.wav").touch()
    assert type(await failure(tmp_path / "empty.wav", limits)) is errors.EmptyAudio


@pytest.mark.usefixtures("each_ffmpeg", "no_child_left")
async def test_a_text_named_wav(tmp_path: Path, limits: DecodeLimits) -> None:
    text = tmp_path / "text.wav"
    text.write_text("This is no sound. " * 200)
    assert type(await failure(text, limits)) is errors.UndecodableAudio


@pytest.mark.usefixtures("each_ffmpeg")
@pytest.mark.parametrize("name", ["picture.png", "picture.jpg"])
async def test_a_picture(name: str, tmp_path: Path, limits: DecodeLimits) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=d=1", "-frames:v", "1", tmp_path / name)
    assert type(await failure(tmp_path / name, limits)) is errors.UndecodableAudio


@pytest.mark.usefixtures("each_ffmpeg")
@pytest.mark.parametrize("name", ["silent.mp4", "silent.mkv"])
async def test_a_video_without_sound(name: str, tmp_path: Path, limits: DecodeLimits) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=64x48", tmp_path / name)
    error = await failure(tmp_path / name, limits)
    assert type(error) is errors.NoAudioTrack
    assert "no audio track" in error.message


async def test_a_twentieth_of_a_second(tmp_path: Path, limits: DecodeLimits) -> None:
    path = write_wav(tmp_path / "short.wav", click_track(0.05))
    error = await failure(path, limits)
    assert type(error) is errors.AudioTooShort
    assert error.details == {"duration": 0.05, "min_duration": 0.1}


async def test_a_header_without_samples(clicks_wav: Path, limits: DecodeLimits) -> None:
    path = write_wav(clicks_wav.with_name("nothing.wav"), click_track(0))
    assert type(await failure(path, replace(limits, min_seconds=0))) is errors.AudioTooShort


@pytest.mark.usefixtures("each_ffmpeg")
async def test_random_bytes(tmp_path: Path, limits: DecodeLimits) -> None:
    (tmp_path / "noise").write_bytes(np.random.default_rng(0).bytes(50_000))
    assert isinstance(await failure(tmp_path / "noise", limits), errors.InvalidAudio)


# --- what breaks off


def claim_sizes(wav: Path, riff: int, data: int) -> None:
    """Write these into the plain 44-byte header of a wav file."""
    with wav.open("r+b") as file:
        for at, size in ((4, riff), (40, data)):
            file.seek(at)
            file.write(size.to_bytes(4, "little"))


@pytest.mark.usefixtures("each_ffmpeg", "no_child_left")
@pytest.mark.parametrize(
    "made",
    [
        ("a.wav",),
        ("a.mp3",),
        ("a.flac",),
        ("index_at_start.m4a", "-movflags", "+faststart"),
        ("a.webm",),
    ],
    ids=lambda made: made[0],
)
async def test_a_file_that_breaks_off_gives_what_it_has_and_says_so(
    made: tuple[str, ...], files: Files, limits: DecodeLimits
) -> None:
    samples, warnings = await decoded(part_of(files.path(*made), 0.4), limits)
    assert click_times(samples)[0] == pytest.approx(CLICKS[0], abs=CLOSE)
    assert len(samples) / 16_000 < 2
    assert len(warnings) == 1
    assert f"{len(samples) / 16_000:.1f} s" in warnings[0]


@pytest.mark.usefixtures("each_ffmpeg")
async def test_a_track_that_is_shorter_than_another_is_whole(
    clicks_wav: Path, limits: DecodeLimits
) -> None:
    path = clicks_wav.with_name("uneven.m4a")
    longer = ("-stream_loop", "2", "-i", clicks_wav)
    tracks = ("-map", "0", "-map", "1", "-disposition:a:0", "default", "-disposition:a:1", "0")
    run_ffmpeg("-i", clicks_wav, *longer, *tracks, path)
    samples, warnings = await decoded(path, limits)
    assert len(samples) / 16_000 == pytest.approx(3, abs=0.06)
    assert warnings == []


@pytest.mark.usefixtures("each_ffmpeg")
async def test_a_wav_that_breaks_off_between_two_samples_says_so(
    tmp_path: Path, limits: DecodeLimits
) -> None:
    path = write_wav(tmp_path / "cut.wav", click_track(2))
    claim_sizes(path, 36 + 3 * 44_100 * 4, 3 * 44_100 * 4)
    samples, warnings = await decoded(path, limits)
    assert len(samples) == 32_000
    assert warnings == ["The file is damaged or breaks off: 2.0 s could be decoded."]


@pytest.mark.usefixtures("each_ffmpeg")
async def test_an_m4a_that_lost_its_index_is_explained(files: Files, limits: DecodeLimits) -> None:
    error = await failure(part_of(files.path("index_at_end.m4a"), 0.6), limits)
    assert type(error) is errors.UndecodableAudio
    assert "index (moov) is missing" in error.message


@pytest.mark.usefixtures("each_ffmpeg")
@pytest.mark.parametrize(
    "size", [0, 10**9, 2**30, 2 * 10**9, 0x7FFE_FFFF, 0x7FFF_FFFF, 0xFFFF_FFFF]
)
async def test_a_wav_of_unknown_length_is_whole(
    size: int, tmp_path: Path, limits: DecodeLimits
) -> None:
    piped = write_wav(tmp_path / "piped.wav", click_track())
    claim_sizes(piped, size, size)
    samples, warnings = await decoded(piped, limits)
    assert len(samples) == 48_000
    assert warnings == []


# --- limits


def long_wav(folder: Path, seconds: int) -> Path:
    """Silence, mostly a hole in the file: costs no disk."""
    path = write_wav(folder / "long.wav", click_track(0, rate=16_000), 16_000, channels=1)
    n_bytes = seconds * 16_000 * 2
    claim_sizes(path, n_bytes + 36, n_bytes)
    with path.open("r+b") as file:
        file.truncate(44 + n_bytes)
    return path


@pytest.mark.usefixtures("no_child_left")
async def test_too_long_an_audio_is_noticed_while_it_is_read(
    tmp_path: Path, limits: DecodeLimits
) -> None:
    async with opened(long_wav(tmp_path, 3600), replace(limits, max_seconds=12)) as audio:
        blocks = audio.blocks()
        assert [len(await anext(blocks)) for _ in range(2)] == [80_000, 80_000]
        with pytest.raises(errors.AudioTooLong) as caught:
            await anext(blocks)
    assert caught.value.details == {"max_duration": 12}


async def test_an_audio_of_just_the_longest_length_is_allowed(
    clicks_wav: Path, limits: DecodeLimits
) -> None:
    samples, _ = await decoded(clicks_wav, replace(limits, max_seconds=3))
    assert len(samples) == 48_000


async def test_memory_does_not_grow_with_the_file(tmp_path: Path, limits: DecodeLimits) -> None:
    tracemalloc.start()
    async with opened(long_wav(tmp_path, 1200), limits) as audio:
        n_samples = sum([len(block) async for block in audio.blocks()])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_samples == 1200 * 16_000  # 77 MB as float32
    assert peak < 4_000_000


def pretend_ffmpeg(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that starts like ffmpeg and then does what ffmpeg might on a bad day."""
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(ffmpeg_process, "find_ffmpeg", lambda: str(program))


SECOND = r"printf '\0\nSMJPEG\0\0\0\0\0\0\0\0HENDsndD\0\0\0\0\0\0\175\0'; head -c 32000 /dev/zero"
ENDLESS = r"printf '\0\nSMJPEG\0\0\0\0\0\0\0\0HENDsndD\0\0\0\0\177\0\0\0'; exec cat /dev/zero"


@pytest.mark.usefixtures("no_child_left")
@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exec sleep 60", "to recognise the file"),
        ("echo '[info]   Duration: N/A,' >&2; exec sleep 60", "without decoding any audio"),
        (f"exec 2>&-; {SECOND}; exec sleep 60", "without decoding any audio"),
        (f"exec 2>&-; {SECOND}; exec 1>&-; exec sleep 60", "to end"),
    ],
)
async def test_ffmpeg_that_hangs_is_ended(
    script: str,
    told: str,
    clicks_wav: Path,
    tmp_path: Path,
    limits: DecodeLimits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_ffmpeg(tmp_path, script, monkeypatch)
    error = await failure(clicks_wav, replace(limits, timeout=0.3))
    assert type(error) is errors.TimedOut
    assert told in error.message
    assert error.details == {"limit": 0.3}


async def test_ffmpeg_that_crashes_in_the_middle_leaves_a_warning(
    clicks_wav: Path, tmp_path: Path, limits: DecodeLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_ffmpeg(tmp_path, f"{SECOND}; kill -SEGV $$", monkeypatch)
    samples, warnings = await decoded(clicks_wav, limits)
    assert len(samples) == 16_000
    assert len(warnings) == 1


async def test_ffmpeg_that_crashes_at_once_is_the_files_fault(
    clicks_wav: Path, tmp_path: Path, limits: DecodeLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_ffmpeg(tmp_path, "kill -SEGV $$", monkeypatch)
    assert type(await failure(clicks_wav, limits)) is errors.UndecodableAudio


# --- leaving early


@pytest.fixture
def endless(
    clicks_wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_child_left: None
) -> Path:
    """A file whose decoding never ends by itself."""
    pretend_ffmpeg(tmp_path, f"exec 2>&-; {ENDLESS}", monkeypatch)
    return clicks_wav


async def test_a_caller_that_leaves_early_ends_ffmpeg(endless: Path, limits: DecodeLimits) -> None:
    async with opened(endless, limits) as audio, aclosing(audio.blocks()) as blocks:
        assert len(await anext(blocks)) == 5 * 16_000


async def test_a_caller_that_fails_ends_ffmpeg_and_keeps_its_error(
    endless: Path, limits: DecodeLimits
) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with opened(endless, limits):
            raise KeyError("mine")


async def test_a_cancelled_caller_ends_ffmpeg(endless: Path, limits: DecodeLimits) -> None:
    has_begun = asyncio.Event()

    async def transcribe() -> None:
        async with opened(endless, limits):
            has_begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(transcribe())
    await has_begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.usefixtures("no_child_left")
async def test_many_files_at_once_are_not_mixed_up(tmp_path: Path, limits: DecodeLimits) -> None:
    at = [0.3 * n for n in range(1, 9)]
    paths = [write_wav(tmp_path / f"{t}.wav", click_track(clicks=[t])) for t in at]
    results = await asyncio.gather(*(decoded(path, limits) for path in paths))
    heard = itertools.chain.from_iterable(click_times(samples) for samples, _ in results)
    assert list(heard) == pytest.approx(at, abs=0.002)


def test_it_works_on_the_loop_that_ray_serve_uses(files: Files, limits: DecodeLimits) -> None:
    uvloop = pytest.importorskip("uvloop")
    samples, _ = uvloop.run(decoded(files.path("a.mp3"), limits))
    assert click_times(samples) == pytest.approx(CLICKS, abs=CLOSE)
