"""What a person at a terminal, and an operator with a log, see of a download."""

import io
import logging

import pytest

from whisper_service.models import progress
from whisper_service.models.progress import StallGuard, shown_progress
from whisper_service.models.weight_files import FetchError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_with_its_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with shown_progress("base") as show:
        show(50_000_000, 100_000_000)
    last = terminal.getvalue().split("\r")[-1]
    assert last.startswith("base:  50%")
    assert "50.0M/100M" in last
    assert "B/s" in last


def test_a_log_has_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = iter([0.0, 1.0, 10.0, 11.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with shown_progress("base") as show:
        for done in (5_000_000, 25_000_000, 30_000_000, 45_000_000):
            show(done, 100_000_000)
    assert caplog.messages == [
        "Downloading model base: 25 of 100 MB, 2.0 MB/s.",
        "Downloading model base: 45 of 100 MB, 2.0 MB/s.",
    ]


def test_next_to_nothing_is_no_progress() -> None:
    now = [0.0]
    guard = StallGuard(10.0, lambda: now[0])
    for now[0], n_bytes in ((5.0, 20_000), (14.0, 20_100), (15.0, 20_100)):
        guard.check(n_bytes)
    now[0] = 15.1
    with pytest.raises(FetchError, match="100 bytes came in 10 s"):
        guard.check(20_100)
