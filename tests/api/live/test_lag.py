"""Who is let in, by how late the others are."""

import pytest

from whisper_service.api.live.lag import LagGate
from whisper_service.errors import Overloaded


@pytest.fixture
def gate():
    return LagGate(limit=10.0)


def test_nobody_here_is_nobody_late(gate):
    gate.check()


def test_streams_that_keep_up_let_another_one_in(gate):
    with gate.register(lambda: 0.0), gate.register(lambda: 60.0), gate.register(lambda: 3.0):
        gate.check()


def test_half_of_them_late_is_refused_with_the_reason(gate):
    with (
        gate.register(lambda: 12.0),
        gate.register(lambda: 14.0),
        pytest.raises(Overloaded, match=r"13\.0 s behind") as refusal,
    ):
        gate.check()
    assert (refusal.value.retry_after, refusal.value.details["limit"]) == (5.0, 10.0)
    gate.check()


def test_one_that_sends_too_fast_shuts_nobody_out(gate):
    with gate.register(lambda: 59.0):
        gate.check()
