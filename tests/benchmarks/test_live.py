"""What the live benchmark makes of messages; the messages themselves are written here."""

import json
from itertools import pairwise

import pytest

from benchmarks.live_client import Run
from benchmarks.live_report import final_lags, first_partials, plot, summarise, table, write_json
from benchmarks.speech_track import Speech, Track, bare_words, make_track, n_errors

TRACK = Track(bytes(32_000 * 10), ("one", "two", "three"), (Speech(1.0, 2.0), Speech(5.0, 6.0)))


def run_of(*told: tuple[float, str, float, str]) -> Run:
    """Messages as (arrival, type, end, text)."""
    run = Run()
    for at, kind, end, text in told:
        run.messages.append((at, {"type": kind, "end": end, "text": text}))
    run.messages.append((10.0, {"type": "done"}))
    return run


GOOD = run_of(
    (1.8, "partial", 1.5, " one"),
    (2.9, "final", 1.9, " one two"),
    (5.9, "partial", 5.6, " three"),
    (7.1, "final", 5.9, " three"),
)


def test_latencies_count_from_when_it_was_spoken():
    assert first_partials(TRACK, GOOD) == pytest.approx([0.8, 0.9])
    assert final_lags(TRACK, GOOD) == pytest.approx([0.9, 1.1])


def test_text_that_never_came_is_infinitely_late():
    assert final_lags(TRACK, run_of((2.9, "final", 1.9, " one")))[1] == float("inf")


def test_a_row_holds_the_words_against_truth_and_file():
    row = summarise(TRACK, [GOOD, run_of((2.9, "final", 9.0, " one"))], "one too three")
    assert (row.n_streams, row.n_failed) == (2, 0)
    assert row.wer_live == pytest.approx(100 * (0 + 2 / 3) / 2)
    assert row.wer_file == pytest.approx(100 / 3)


def test_the_report_is_written(tmp_path):
    rows = [summarise(TRACK, [GOOD], "one two three")]
    assert "| 1 | 0 | 0.90 / 0.90 s | 1.10 / 1.10 s | 0.0 s | 0.0 / 0.0 % |" in table(rows)
    write_json(rows, {"machine": "m"}, tmp_path / "live.json")
    assert json.loads((tmp_path / "live.json").read_text())["rows"][0]["n_streams"] == 1
    pytest.importorskip("matplotlib")
    plot(rows, "title", tmp_path / "live.png")
    assert (tmp_path / "live.png").read_bytes()[:4] == b"\x89PNG"


def test_the_track_knows_its_words_and_when_they_are():
    track = make_track(12)
    assert track.words[:2] == ("zero", "one")
    assert track.seconds >= 12
    assert all(a.end + 1.0 < b.start for a, b in pairwise(track.speeches))


@pytest.mark.parametrize(
    ("truth", "heard", "n"), [("a b c", "a b c", 0), ("a b c", "a c", 1), ("a b", "x a b y", 2)]
)
def test_errors_are_the_least_edits(truth, heard, n):
    assert n_errors(bare_words(truth), bare_words(heard)) == n
