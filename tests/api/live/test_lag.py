"""Who is let in, by how late the others are."""

import pytest

from whisper_service.api.live.lag import LagBoard
from whisper_service.errors import Overloaded


@pytest.fixture
def board():
    return LagBoard(limit=10.0)


def test_nobody_here_is_nobody_late(board):
    board.check()


def test_streams_that_keep_up_let_another_one_in(board):
    with board.listing(lambda: 0.0), board.listing(lambda: 60.0), board.listing(lambda: 3.0):
        board.check()


def test_half_of_them_late_is_refused_with_the_reason(board):
    with (
        board.listing(lambda: 12.0),
        board.listing(lambda: 14.0),
        pytest.raises(Overloaded, match=r"13\.0 s behind") as refusal,
    ):
        board.check()
    assert (refusal.value.retry_after, refusal.value.details["limit"]) == (5.0, 10.0)
    board.check()


def test_one_that_sends_too_fast_shuts_nobody_out(board):
    with board.listing(lambda: 59.0):
        board.check()
