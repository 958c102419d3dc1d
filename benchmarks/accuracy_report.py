"""The rows of the accuracy benchmark, as numbers, tables and lists of the worst files."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.corpus import Recording
from benchmarks.scoring import Pair, Score, score
from benchmarks.stream_scoring import Timeliness, quantile

OURS = "ours"
Show = Callable[["FileRow"], str]


@dataclass(frozen=True, slots=True)
class FileRow:
    """One set through one system."""

    model: str
    set: str
    system: str
    arithmetic: str
    n_files: int
    n_failed: int
    audio_seconds: float
    seconds: float
    score: Score

    @property
    def real_time_factor(self) -> float:
        return self.audio_seconds / self.seconds

    @property
    def name(self) -> str:
        return f"{self.system}, {self.arithmetic}"


@dataclass(frozen=True, slots=True)
class StreamRow:
    """One set as streams of our service. `n_warnings` counts warnings of lag."""

    model: str
    set: str
    arithmetic: str
    n_streams: int
    n_files: int
    n_failed: int
    n_warnings: int
    live: Score
    file: Score
    """The same recordings, uploaded to the same service."""
    timeliness: Timeliness


def pairs(recordings: Sequence[Recording], texts: Sequence[str]) -> list[Pair]:
    """What was spoken beside what was written, to be scored."""
    both = zip(recordings, texts, strict=True)
    return [Pair(recording.text, text, recording.language) for recording, text in both]


def line(row: FileRow) -> str:
    """One row as soon as it is there."""
    failed = f", {row.n_failed} of {row.n_files} failed" if row.n_failed else ""
    return (
        f"{row.model}, {row.set}: {row.name}: WER {_rate(row.score)} of {row.score.n_words}"
        f" words, {row.real_time_factor:.1f} x real time{failed}"
    )


def word_table(rows: Sequence[FileRow]) -> str:
    """Markdown: WER (substitutions / deletions / insertions), a line a set."""
    return _by_set_and_system(rows, "words", _n_words, lambda row: _rate(row.score))


def speed_table(rows: Sequence[FileRow]) -> str:
    """Markdown: times real time, a line a set; in brackets how often our first row has a peer's."""

    def speed(row: FileRow) -> str:
        found = f"{row.real_time_factor:.1f}"
        if row.system == OURS:
            return found
        ours = next((r for r in rows if (r.set, r.system) == (row.set, OURS)), None)
        return f"{found} ({ours.real_time_factor / row.real_time_factor:.1f})" if ours else found

    return _by_set_and_system(rows, "minutes", lambda row: f"{row.audio_seconds / 60:.1f}", speed)


def longest_insertions(rows: Sequence[FileRow]) -> str:
    """The longest run of words that nobody spoke, where there is one of three words or more."""
    long = (row for row in rows if len(row.score.longest_insertion.split()) > 2)
    return "\n".join(f"- {row.set}, {row.name}: {row.score.longest_insertion}" for row in long)


def stream_table(rows: Sequence[StreamRow]) -> str:
    """Markdown; delays as p50 / p95."""
    lines = [
        "| model | set | arithmetic | at once | WER live | S / D / I | WER file | live - file |"
        " first partial | final after last word | taken back | failed | lag warnings |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.model} | {row.set} | {row.arithmetic} | {row.n_streams}"
        f" | {row.live.wer:.2f} % | {_errors(row.live)} | {row.file.wer:.2f} %"
        f" | {row.live.wer - row.file.wer:+.2f} | {_delays(row.timeliness.first_partials)}"
        f" | {_delays(row.timeliness.finals)} | {row.timeliness.share_taken_back:.1f} %"
        f" | {row.n_failed} | {row.n_warnings} |"
        for row in rows
    ]
    return "\n".join(lines)


def worst(recordings: Sequence[Recording], texts: Sequence[str], n: int) -> str:
    """The `n` recordings with the highest error rates, with both texts."""
    scored = [
        (score([pair]).wer, recording, pair.hypothesis)
        for recording, pair in zip(recordings, pairs(recordings, texts), strict=True)
    ]
    scored.sort(key=lambda entry: -entry[0])
    return "\n".join(
        f"  {wer:.0f} % {recording.set}/{recording.path.name}\n"
        f"    spoken  {recording.text[:200]}\n    written {text.strip()[:200]}"
        for wer, recording, text in scored[:n]
    )


def write_json(
    facts: dict[str, Any], files: Sequence[FileRow], streams: Sequence[StreamRow], path: Path
) -> None:
    """Everything but the texts, for a later comparison."""
    document = {
        **facts,
        "files": [
            {**_flat(row), "real_time_factor": round(row.real_time_factor, 2)} for row in files
        ],
        "streams": [_stream_entry(row) for row in streams],
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_answers(entries: Iterable[dict[str, str]], path: Path) -> None:
    """A JSON line for each text."""
    lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries]
    path.write_text("".join(lines), encoding="utf-8")


def _flat(row: FileRow) -> dict[str, Any]:
    entry = asdict(row)
    del entry["score"]
    entry["seconds"] = round(row.seconds, 2)
    entry["audio_seconds"] = round(row.audio_seconds, 2)
    return {**entry, **_score_entry(row.score)}


def _stream_entry(row: StreamRow) -> dict[str, Any]:
    entry = asdict(row)
    del entry["timeliness"]
    found = row.timeliness
    return {
        **entry,
        "live": _score_entry(row.live),
        "file": _score_entry(row.file),
        "n_finals": len(found.finals),
        "final_p50": _rounded(found.finals, 0.5),
        "final_p95": _rounded(found.finals, 0.95),
        "n_utterances": len(found.first_partials),
        "first_partial_p50": _rounded(found.first_partials, 0.5),
        "first_partial_p95": _rounded(found.first_partials, 0.95),
        "words_shown": found.n_shown,
        "words_taken_back": found.n_taken_back,
    }


def _score_entry(found: Score) -> dict[str, Any]:
    return {"wer": round(found.wer, 3), **asdict(found)}


def _errors(found: Score) -> str:
    return f"{found.substitutions} / {found.deletions} / {found.insertions}"


def _rate(found: Score) -> str:
    return f"{found.wer:.2f} % ({_errors(found)})"


def _n_words(row: FileRow) -> str:
    return f"{row.score.n_words:,}"


def _by_set_and_system(rows: Sequence[FileRow], size: str, size_of: Show, show: Show) -> str:
    """Of one model: a line a set, a column a system."""
    sets, names = dict.fromkeys(r.set for r in rows), dict.fromkeys(r.name for r in rows)
    lines = [
        f"| {rows[0].model} | {size} | {' | '.join(names)} |",
        "|---|" + (len(names) + 1) * "---:|",
    ]
    for each in sets:
        found = {row.name: row for row in rows if row.set == each}
        cells = [show(found[name]) if name in found else "" for name in names]
        lines.append(f"| {each} | {size_of(next(iter(found.values())))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _delays(values: Sequence[float]) -> str:
    if not values:
        return "none"
    return f"{quantile(values, 0.5):.2f} / {quantile(values, 0.95):.2f} s"


def _rounded(values: Sequence[float], share: float) -> float | None:
    found = quantile(values, share)
    return None if found is None else round(found, 3)
