import asyncio

from whisper_service.client import tape
from whisper_service.client.tape import Tape


async def test_it_is_read_from_anywhere_until_its_end():
    recorded = Tape(16_000)
    recorded.append(b"abcdef")
    recorded.stop()
    assert await recorded.read(0, 4) == b"abcd"
    assert await recorded.read(4, 4) == b"ef"
    assert await recorded.read(6, 4) == b""


async def test_a_reader_waits_for_what_is_not_there_yet():
    recorded = Tape(16_000)
    reading = asyncio.create_task(recorded.read(0, 4))
    await asyncio.sleep(0)
    assert not reading.done()
    recorded.append(b"ab")
    assert await reading == b"ab"


async def test_it_is_bounded_and_what_is_gone_comes_back_as_silence(monkeypatch):
    monkeypatch.setattr(tape, "MAX_KEPT_SECONDS", 1)
    recorded = Tape(4, frame_bytes=1, silence=b"_")
    recorded.append(b"abcdefgh")
    assert recorded.n_kept == 4
    assert await recorded.read(2, 4) == b"__ef"
    assert await recorded.read(0, 3) == b"___"


def test_a_position_is_never_inside_a_frame():
    recorded = Tape(44_100, frame_bytes=4)
    assert all(recorded.position_of(n / 16_000) % 4 == 0 for n in range(200))


def test_a_stopped_tape_records_no_more():
    recorded = Tape(16_000)
    recorded.stop()
    recorded.append(b"abc")
    assert recorded.end == 0
