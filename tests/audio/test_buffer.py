import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_service.audio.buffer import AudioBuffer
from whisper_service.types import Audio


def ramp(start: int, end: int) -> Audio:
    return np.arange(start, end, dtype=np.float32)


def test_positions_count_from_the_start_of_the_stream() -> None:
    buffer = AudioBuffer()
    buffer.append(ramp(0, 100))
    buffer.discard_before(40)
    buffer.append(ramp(100, 150))
    assert (buffer.start, buffer.end, len(buffer)) == (40, 150, 110)
    assert buffer.slice(90, 110).tolist() == ramp(90, 110).tolist()


def test_a_resumed_stream_begins_at_its_offset() -> None:
    buffer = AudioBuffer(1_000_000)
    buffer.append(ramp(0, 10))
    assert (buffer.start, buffer.end) == (1_000_000, 1_000_010)
    assert buffer.slice(1_000_004, 1_000_006).tolist() == [4, 5]


def test_a_slice_is_a_copy() -> None:
    buffer = AudioBuffer()
    buffer.append(ramp(0, 10))
    buffer.slice(0, 10)[:] = -1
    assert buffer.slice(0, 10).tolist() == ramp(0, 10).tolist()


@pytest.mark.parametrize(("start", "end"), [(4, 8), (5, 21), (12, 11), (-1, 6)])
def test_what_is_not_held_cannot_be_had(start: int, end: int) -> None:
    buffer = AudioBuffer()
    buffer.append(ramp(0, 20))
    buffer.discard_before(5)
    with pytest.raises(IndexError, match=r"\[5, 20\) is held"):
        buffer.slice(start, end)


def test_discarding_stops_at_the_end() -> None:
    buffer = AudioBuffer()
    buffer.append(ramp(0, 10))
    buffer.discard_before(50)
    buffer.discard_before(3)
    assert (buffer.start, buffer.end) == (10, 10)


def test_more_than_the_limit_is_refused_and_nothing_lost() -> None:
    buffer = AudioBuffer(max_samples=15)
    buffer.append(ramp(0, 10))
    with pytest.raises(BufferError, match="15 are allowed"):
        buffer.append(ramp(10, 20))
    assert buffer.slice(0, 10).tolist() == ramp(0, 10).tolist()


def test_memory_follows_what_is_held_not_what_has_passed() -> None:
    buffer, second = AudioBuffer(), np.zeros(16_000, np.float32)
    tracemalloc.start()
    for _ in range(3600):
        buffer.append(second)
        buffer.discard_before(buffer.end - 10 * 16_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * 10 * second.nbytes


@given(st.lists(st.tuples(st.integers(0, 60_000), st.floats(0, 1)), max_size=20))
def test_it_holds_what_a_plain_list_would(steps: list[tuple[int, float]]) -> None:
    buffer, everything = AudioBuffer(), np.empty(0, np.float32)
    for n_samples, kept in steps:
        more = ramp(len(everything), len(everything) + n_samples)
        everything = np.concatenate((everything, more))
        buffer.append(more)
        buffer.discard_before(buffer.end - round(kept * len(buffer)))
        assert buffer.end == len(everything)
        held = buffer.slice(buffer.start, buffer.end)
        np.testing.assert_array_equal(held, everything[buffer.start :])
