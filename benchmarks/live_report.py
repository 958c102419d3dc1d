"""What the streams' messages say: latencies, lag, words; as numbers, a table and a picture."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.live_client import Run
from benchmarks.speech_track import Track, bare_words, n_errors

_NEAR = 0.35
"""Seconds before the true end of speech at which a final may end and still be its last one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One number of streams. Latencies in seconds; WER in percent."""

    n_streams: int
    n_failed: int
    first_partial_p50: float
    first_partial_p95: float
    final_p50: float
    final_p95: float
    worst_lag_told: float
    wer_live: float
    wer_file: float
    n_revised: int
    """Streams whose finals were not the same as the majority's."""


def summarise(track: Track, runs: Sequence[Run], file_text: str) -> Row:
    """One row of the table."""
    firsts = [delay for run in runs for delay in first_partials(track, run)]
    lasts = [delay for run in runs for delay in final_lags(track, run)]
    lags = [message["lag"] for run in runs for _, message in run.of("warning")]
    truth, texts = list(track.words), [bare_words(run.text) for run in runs]
    common = max(texts, key=texts.count)
    return Row(
        n_streams=len(runs),
        n_failed=sum(run.failure is not None for run in runs),
        first_partial_p50=_percentile(firsts, 50),
        first_partial_p95=_percentile(firsts, 95),
        final_p50=_percentile(lasts, 50),
        final_p95=_percentile(lasts, 95),
        worst_lag_told=max(lags, default=0.0),
        wer_live=float(np.mean([_wer(truth, text) for text in texts])),
        wer_file=_wer(truth, bare_words(file_text)),
        n_revised=sum(text != common for text in texts),
    )


def first_partials(track: Track, run: Run) -> list[float]:
    """From the true beginning of each speech to the first text of it, partial or final."""
    told = [(at, m) for at, m in run.messages if m["type"] in ("partial", "final")]
    return [
        next((at for at, m in told if m["end"] > speech.start), float("inf")) - speech.start
        for speech in track.speeches
    ]


def final_lags(track: Track, run: Run) -> list[float]:
    """From the true end of each speech to the final that reaches it."""
    return [
        next((at for at, m in run.of("final") if m["end"] > speech.end - _NEAR), float("inf"))
        - speech.end
        for speech in track.speeches
    ]


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| streams | failed | first partial p50 / p95 | final after speech p50 / p95 | lag told |"
        " WER live / file |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.n_streams} | {row.n_failed}"
        f" | {row.first_partial_p50:.2f} / {row.first_partial_p95:.2f} s"
        f" | {row.final_p50:.2f} / {row.final_p95:.2f} s | {row.worst_lag_told:.1f} s"
        f" | {row.wer_live:.1f} / {row.wer_file:.1f} % |"
        for row in rows
    ]
    return "\n".join(lines)


def write_json(rows: Sequence[Row], facts: dict[str, Any], path: Path) -> None:
    """Everything, for a later comparison."""
    document = {**facts, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def plot(rows: Sequence[Row], title: str, path: Path) -> None:
    """Latencies against the number of streams."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    counts = [row.n_streams for row in rows]
    for name, colour in (("final", "tab:blue"), ("first_partial", "tab:orange")):
        for percentile, style in (("p50", "--"), ("p95", "-")):
            values = [getattr(row, f"{name}_{percentile}") for row in rows]
            label = f"{name.replace('_', ' ')} {percentile}"
            axes.plot(counts, values, style, color=colour, marker="o", label=label)
    axes.set(xlabel="streams", ylabel="seconds", title=title, ylim=(0, None), xticks=counts)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)
    pyplot.close(figure)


def _wer(truth: list[str], heard: list[str]) -> float:
    return 100 * n_errors(truth, heard) / len(truth)


def _percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent, method="higher"))
