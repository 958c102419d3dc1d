"""What the accuracy benchmark makes of texts, corpora and messages; all are written here."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import accuracy
from benchmarks.accuracy_report import (
    FileRow,
    StreamRow,
    longest_insertions,
    pairs,
    speed_table,
    stream_table,
    word_table,
    worst,
    write_json,
)
from benchmarks.corpus import CorpusError, Recording, by_set, read_corpus
from benchmarks.live_client import Run
from benchmarks.scoring import Pair, Score, score
from benchmarks.stream_scoring import quantile, timeliness, together

_RATE = 16_000


def flac_head(n_samples: int) -> bytes:
    """A FLAC file as far as its length: no audio in it."""
    facts = (_RATE << 44) | (15 << 36) | n_samples
    return b"fLaC" + bytes([0x80, 0, 0, 34]) + bytes(10) + facts.to_bytes(8) + bytes(16)


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["accuracy", *arguments])
    return accuracy.main()


def recording(text: str, name: str = "a.flac", language: str = "en") -> Recording:
    return Recording(Path(name), "clean", text, language, 4.0)


def test_each_kind_of_error_is_counted() -> None:
    found = score([Pair("THE CAT SAT ON MATS TODAY", "A cat sat mats today, all day long.", "en")])
    assert found == Score(6, 1, 1, 3, longest_insertion="all day long")
    assert found.wer == pytest.approx(100 * 5 / 6)


def test_spelling_and_punctuation_are_no_errors() -> None:
    pair = Pair("MISTER SMITH'S COLOUR IS NUMBER TWENTY", "Mr. Smith's color is number 20!", "en")
    assert score([pair]).wer == 0


def test_a_rate_is_of_the_corpus_and_no_mean_of_files() -> None:
    found = score([Pair("yes", "no", "en"), Pair("one of the many words", "", "en")])
    assert (found.n_words, found.substitutions, found.deletions) == (6, 1, 5)


def test_chinese_is_scored_by_character() -> None:
    assert score([Pair("今天天气很好。", "今天天汽好", "zh")]) == Score(6, 1, 1, 0, "")


def test_german_keeps_its_letters() -> None:
    found = score([Pair("Schöne Straße", "Schone Straße", "de")])
    assert (found.n_words, found.substitutions) == (2, 1)


def test_no_words_against_none_are_no_error() -> None:
    assert score([Pair("", "(music)", "en")]).wer == 0
    assert score([Pair("", "Thank you.", "en")]).insertions == 2


def test_a_librispeech_folder_is_read(tmp_path: Path) -> None:
    chapter = tmp_path / "test-clean" / "61" / "70968"
    chapter.mkdir(parents=True)
    lines = "61-70968-0000 HE BEGAN\n61-70968-0001 YES\n"
    (chapter / "61-70968.trans.txt").write_text(lines)
    for number in range(2):
        (chapter / f"61-70968-000{number}.flac").write_bytes(flac_head(_RATE * (number + 2)))
    found = read_corpus(tmp_path)
    assert [each.text for each in found] == ["HE BEGAN", "YES"]
    assert [each.seconds for each in found] == [2.0, 3.0]
    assert {each.set for each in found} == {"test-clean"}
    assert read_corpus(tmp_path / "test-clean") == found


def test_a_manifest_is_read_by_sets(tmp_path: Path) -> None:
    for name in ("de/a.flac", "en/a.flac", "en/b.ogg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    lines = [
        {"path": "en/a.flac", "text": "one", "seconds": 1, "speaker": "x"},
        {"path": "de/a.flac", "text": "zwei", "seconds": 2.5, "language": "de"},
        {"path": "en/b.ogg", "text": "three", "seconds": 3},
    ]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    sets = by_set(read_corpus(manifest))
    assert [each.text for each in sets["en"]] == ["one", "three"]
    assert (sets["de"][0].language, sets["de"][0].seconds) == ("de", 2.5)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"path": "a/b.flac", "text": "x", "seconds": 1}', r"1 of 1 files are not there: .*b\.f"),
        ('{"path": "a/b.flac", "text": "x"}', "line 1: 'seconds' is missing"),
        ("{path", "line 1: Expecting property name"),
        ("", "has no lines"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(tmp_path: Path, line: str, reason: str) -> None:
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(line)
    with pytest.raises(CorpusError, match=reason):
        read_corpus(manifest)


def test_a_folder_or_manifest_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no \*\.trans\.txt"):
        read_corpus(tmp_path)
    with pytest.raises(CorpusError, match="is not there: name a manifest or a folder"):
        read_corpus(tmp_path / "manifest.jsonl")


def partial(at: float, start: float, stable: str, unstable: str) -> tuple[float, dict[str, object]]:
    return at, {"type": "partial", "start": start, "stable": stable, "unstable": unstable}


def test_delays_and_words_taken_back_are_counted() -> None:
    run = Run(
        [
            partial(0.8, 0.5, "", ""),
            partial(1.5, 0.5, "", " The cad sat"),
            partial(2.5, 0.5, " The", " cat sat"),
            (3.5, {"type": "final", "end": 2.75, "text": " The cat sat."}),
            partial(5.0, 4.0, "", " Then"),
            (6.0, {"type": "final", "end": 5.5, "text": " Then."}),
            (6.1, {"type": "done"}),
        ]
    )
    found = together([timeliness(run, "en")] * 2)
    assert found.first_partials == [1.0] * 4
    assert found.finals == [0.75, 0.5] * 2
    assert (found.n_shown, found.n_taken_back) == (6, 4)


def test_a_quantile_is_one_of_the_values() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([3.0, 1.0, 2.0], 0.95) == 2.0
    assert quantile([], 0.5) is None


def file_row(system: str, seconds: float, text: str = "a cat sat") -> FileRow:
    found = score([Pair("a cat", text, "en")])
    return FileRow("base", "clean", system, "int8", 2, 0, 60.0, seconds, found)


def test_the_report_compares_speed_with_ours(tmp_path: Path) -> None:
    rows = [file_row("ours", 2.0), file_row("faster-whisper", 5.0)]
    assert "| base | words | ours, int8 | faster-whisper, int8 |" in word_table(rows)
    assert "| clean | 2 | 50.00 % (0 / 0 / 1) | 50.00 % (0 / 0 / 1) |" in word_table(rows)
    assert "| clean | 1.0 | 30.0 | 12.0 (2.5) |" in speed_table(rows)
    found = timeliness(Run([(3.5, {"type": "final", "end": 3.0, "text": "a"})]), "en")
    live = score([Pair("a b c d", "a b c", "en")])
    file = score([Pair("a b c d", "a b c d", "en")])
    streams = [StreamRow("base", "live", "bfloat16", 4, 1, 0, 0, live, file, found)]
    assert "| 25.00 % | 0 / 1 / 0 | 0.00 % | +25.00 | none |" in stream_table(streams)
    write_json({"threads": 2}, rows, streams, tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["files"][1]["real_time_factor"] == 12.0
    assert document["streams"][0]["final_p95"] == 0.5


def test_runs_of_words_nobody_spoke_are_named() -> None:
    rows = [file_row("ours", 2.0), file_row("faster-whisper", 5.0, "a cat thank you so much")]
    assert longest_insertions(rows) == "- clean, faster-whisper, int8: thank you so much"


def test_the_worst_files_come_first() -> None:
    both = [recording("one two three", "a.flac"), recording("four five", "b.flac")]
    texts = ["one two three", "six"]
    assert [pair.hypothesis for pair in pairs(both, texts)] == texts
    lines = worst(both, texts, 1).splitlines()
    assert lines[0].split() == ["100", "%", "clean/b.flac"]
    assert lines[2].split() == ["written", "six"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere"], "nowhere is not there"),
        (["manifest.jsonl", "--set", "dirty"], "has no set 'dirty'; it has clean"),
        (["manifest.jsonl", "--model", "base"], "there is no model 'base' in"),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reason: str,
) -> None:
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "a.flac").touch()
    line = {"path": "clean/a.flac", "text": "one", "seconds": 1}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line))
    monkeypatch.chdir(tmp_path)
    assert run_main(monkeypatch, *arguments, "--model-dir", str(tmp_path)) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.model
@pytest.mark.ray
def test_files_and_streams_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_path: Path
) -> None:
    sample = Path(__file__).parents[1] / "data" / "digits.wav"
    words = json.loads(sample.with_suffix(".json").read_text())["text"]
    (tmp_path / "spoken").mkdir()
    shutil.copy(sample, tmp_path / "spoken")
    line = {"path": "spoken/digits.wav", "text": words, "seconds": 8}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line))
    monkeypatch.chdir(tmp_path)
    chosen = ["--model", "demo", "--json", "found.json"]
    wanted = ["--against", "openai-whisper", "--streams", "1"]
    assert run_main(monkeypatch, "manifest.jsonl", *chosen, *wanted) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert [(row["system"], row["wer"]) for row in found["files"]] == [
        ("ours", 0),
        ("openai-whisper", 0),
    ]
    (live,) = found["streams"]
    assert (live["live"]["wer"], live["n_failed"]) == (0, 0)
    assert live["n_finals"] >= 1
