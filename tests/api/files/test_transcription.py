import asyncio
import io
import tempfile

import numpy as np
import pytest

from tests.api.fakes import FakeDecoder, level, say_level, wav
from tests.policy.world import FakeDetector
from whisper_service.api.files.transcription import Transcriber, drive
from whisper_service.errors import AudioTooShort, Overloaded, TimedOut, Unavailable
from whisper_service.policy.file_plan import FilePlan
from whisper_service.settings import Settings
from whisper_service.types import SAMPLE_RATE, DecodeOptions, FileOptions

SECOND = np.full(SAMPLE_RATE, 0.3, np.float32)


@pytest.fixture
def upload():
    """A file on disk, as an upload is."""
    with tempfile.TemporaryFile() as file:
        file.write(wav(level(5, 2)))
        yield file


def soon(seconds=10.0):
    return asyncio.get_running_loop().time() + seconds


class Blocks:
    """Seconds of audio that count how many were asked for, and whether they were let go."""

    def __init__(self, n_blocks):
        self.n_blocks, self.n_read, self.is_closed = n_blocks, 0, False

    async def read(self):
        try:
            for _ in range(self.n_blocks):
                self.n_read += 1
                yield SECOND
        finally:
            self.is_closed = True


async def run(plan, blocks, decode):
    done = []

    async def report(segments):
        done.extend(segments)

    async with asyncio.timeout(10):
        await drive(plan, blocks.read(), decode, report)
    return done


async def test_audio_is_read_no_further_than_it_is_wanted():
    blocks, decoder = Blocks(3600), FakeDecoder()
    decoder.gate.clear()

    async def decode(job):
        return await decoder.decode("base", job)

    async with asyncio.TaskGroup() as group:
        plan = FilePlan(DecodeOptions(language="en"), max_in_flight=2, detector=FakeDetector())
        running = group.create_task(run(plan, blocks, decode))
        await decoder.begun.acquire()
        await decoder.begun.acquire()
        n_read = blocks.n_read
        running.cancel()
    assert n_read < 200
    assert (blocks.is_closed, decoder.n_cancelled) == (True, 2)


async def test_a_failed_window_ends_the_others_and_comes_out_as_itself():
    blocks, others = Blocks(300), []

    async def decode(job):
        if len(others) == 1:
            raise Overloaded("The queue is full.")
        others.append(job)
        await asyncio.Event().wait()

    with pytest.raises(Overloaded):
        await run(
            FilePlan(DecodeOptions(language="en"), max_in_flight=2, detector=FakeDetector()),
            blocks,
            decode,
        )
    assert blocks.is_closed


async def test_segments_come_in_order_whatever_the_order_of_the_answers():
    answers = iter([0.02, 0.0, 0.01, 0.0])

    async def decode(job):
        await asyncio.sleep(next(answers, 0))
        return say_level(job)

    plan = FilePlan(DecodeOptions(language="en"), max_in_flight=4, detector=FakeDetector())
    done = await run(plan, Blocks(100), decode)
    assert [segment.id for segment in done] == list(range(len(done)))
    assert [segment.start for segment in done] == sorted(segment.start for segment in done)


async def test_ffmpegs_place_is_free_before_the_last_decode_ends(upload):
    decoder = FakeDecoder()
    decoder.gate.clear()
    transcriber = Transcriber(Settings(), decoder, max_ffmpeg=1)
    with tempfile.TemporaryFile() as other:
        other.write(wav(level(6)))
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for file in (upload, other):
                group.create_task(transcriber.transcribe(file, "base", FileOptions(), soon()))
            await decoder.begun.acquire()
            await decoder.begun.acquire()
            decoder.gate.set()


async def test_ffmpegs_place_is_free_again_after_a_failure(upload, monkeypatch):
    monkeypatch.setattr("whisper_service.api.files.transcription.MIN_SECONDS", 3)
    transcriber = Transcriber(Settings(), FakeDecoder(), max_ffmpeg=1)
    for _ in range(2):
        with pytest.raises(AudioTooShort):
            await transcriber.transcribe(upload, "base", FileOptions(), soon())


async def test_waiting_for_ffmpegs_place_is_part_of_the_time_limit(upload):
    transcriber = Transcriber(Settings(), FakeDecoder(), max_ffmpeg=1)
    async with transcriber._ffmpeg:
        with pytest.raises(TimedOut):
            await transcriber.transcribe(upload, "base", FileOptions(), soon(0.01))


async def test_a_file_that_comes_when_nobody_decodes_is_given_up_with_the_reason(upload):
    decoder = FakeDecoder()
    decoder.absence = Unavailable("Nobody is there.", retry_after=15)
    decoder.gate.clear()
    transcriber = Transcriber(Settings(), decoder)
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable, match="Nobody is there"):
            await transcriber.transcribe(upload, "base", FileOptions(), soon(60))
    assert transcriber.admission.wait == 0


async def test_language_detection_reads_one_window_only():
    heard = []

    class Listener(FakeDecoder):
        async def detect_language(self, model_size, audio):
            heard.append(audio)
            return await super().detect_language(model_size, audio)

    with tempfile.TemporaryFile() as file:
        file.write(wav(level(5, 90)))
        await Transcriber(Settings(), Listener()).detect_language(
            file, "base", FileOptions(), soon()
        )
    assert 15 * SAMPLE_RATE < len(heard[0]) <= 30 * SAMPLE_RATE


async def test_a_broken_off_file_is_transcribed_with_a_warning():
    whole = wav(level(5, 4))
    with tempfile.TemporaryFile() as file:
        file.write(whole[: len(whole) // 2])
        transcript = await Transcriber(Settings(), FakeDecoder()).transcribe(
            file, "base", FileOptions(), soon()
        )
    assert transcript.text.startswith("level 5")
    assert len(transcript.warnings) == 1


def test_a_file_in_memory_is_no_real_file():
    # Why files.py rolls small uploads over to disk first.
    with pytest.raises(io.UnsupportedOperation):
        io.BytesIO(b"").fileno()
