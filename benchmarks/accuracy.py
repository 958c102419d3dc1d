"""Word error rate and speed on real speech: files and streams, against openai-whisper and
faster-whisper on the same weights.

    python -m benchmarks.accuracy LibriSpeech/test-clean --model base,tiny.en \\
        --against openai-whisper,faster-whisper --json accuracy.json
    python -m benchmarks.accuracy manifest.jsonl --set clean,other,live --dtype auto,float32,int8
    python -m benchmarks.accuracy manifest.jsonl --set live --streams 1,4 --no-files

The corpus is a folder in LibriSpeech's layout, or a manifest: a JSON object a line with path, text,
seconds and language; the first part of a path is the set. Ours is the service itself, started here
on a port of its own and asked over HTTP (/transcribe, some uploads at once) and WebSocket (/stream,
in real time, with its default settings). The peers have a process each and take one file after the
other: openai-whisper with the defaults of its `transcribe`, faster-whisper in int8 and greedy. All
take turns, some files each. Everybody decodes on the CPU, with as many threads.

Texts are normalised as openai-whisper does it for the published figures and aligned by jiwer.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from benchmarks.accuracy_report import (
    FileRow,
    StreamRow,
    line,
    longest_insertions,
    pairs,
    speed_table,
    stream_table,
    word_table,
    worst,
    write_answers,
    write_json,
)
from benchmarks.corpus import CorpusError, Recording, by_set, read_corpus
from benchmarks.local_service import Service, local_service
from benchmarks.scoring import score
from benchmarks.stream_scoring import timeliness, together
from benchmarks.transcribers import (
    FRAME_SECONDS,
    PEERS,
    Ours,
    Peer,
    System,
    Turn,
    Unfit,
    report,
    running_peer,
    weights_of,
)
from whisper_service.engine.precision import resolve_precision
from whisper_service.settings import Settings

DTYPES = ("auto", "float32", "bfloat16", "int8")
PAUSE = 0.5
"""Seconds between two turns: the other's threads stop spinning for work."""
ROUNDS_IN_A_TURN = 3
"""A turn is as many files as that times those uploaded at once, so that its last files, with less
and less company, weigh little."""
_CACHE = Path(".cache/accuracy")


@dataclass(slots=True)
class Found:
    """All that was measured."""

    files: list[FileRow] = field(default_factory=list)
    streams: list[StreamRow] = field(default_factory=list)
    answers: list[dict[str, str]] = field(default_factory=list)


def main() -> int:
    options = _options()
    found = Found()
    try:
        recordings = _chosen(options)
        _check(options)
        for model in options.model:
            _measure_model(model, _fit(model, recordings), options, found)
    except (CorpusError, Unfit) as error:
        report(f"error: {error}")
        return 2
    _print(options, found)
    return 0


def _print(options: argparse.Namespace, found: Found) -> None:
    for model in options.model:
        if rows := [row for row in found.files if row.model == model]:
            print(
                f"\nWord error rate (substitutions / deletions / insertions):\n{word_table(rows)}"
            )
            print(f"\nTimes real time (ours over it):\n{speed_table(rows)}")
            print(f"\nLongest insertions:\n{longest_insertions(rows)}")
    if found.streams:
        print(f"\n{stream_table(found.streams)}")


def _measure_model(
    model: str, recordings: list[Recording], options: argparse.Namespace, found: Found
) -> None:
    """Every arithmetic has a service of its own, one after the other; peers run beside the first,
    and so do streams."""
    for dtype in options.dtype:
        is_first = dtype == options.dtype[0]
        with ExitStack() as stack:
            service = stack.enter_context(_service(model, dtype, options))
            ours = Ours(
                model,
                _arithmetic(dtype),
                service,
                n_parallel=options.parallel,
                detect=options.detect,
            )
            if not options.no_files:
                theirs = options.against if is_first else []
                others = [stack.enter_context(_peer(name, model, options)) for name in theirs]
                _measure_files(model, [ours, *others], recordings, options, found)
            for n_streams in options.streams if is_first else []:
                _measure_streams(ours, recordings, n_streams, options, found)
                _save(options, found)


def _measure_files(
    model: str,
    systems: Sequence[System],
    recordings: list[Recording],
    options: argparse.Namespace,
    found: Found,
) -> None:
    for system in systems:
        system.transcribe(recordings[:1])  # warms up
    for name, part in by_set(recordings).items():
        turns: list[list[Turn]] = [[] for _ in systems]
        n = ROUNDS_IN_A_TURN * options.parallel
        for files in (part[i : i + n] for i in range(0, len(part), n)):
            for system, taken in zip(systems, turns, strict=True):
                time.sleep(PAUSE)
                taken.append(system.transcribe(files))
                n_done = sum(len(turn.texts) for turn in taken)
                report(f"{model}, {name}: {system.name} {n_done} of {len(part)} files")
        for system, taken in zip(systems, turns, strict=True):
            texts = [text for turn in taken for text in turn.texts]
            row = FileRow(
                model=model,
                set=name,
                system=system.name,
                arithmetic=system.arithmetic,
                n_files=len(part),
                n_failed=sum(turn.n_failed for turn in taken),
                audio_seconds=sum(recording.seconds for recording in part),
                seconds=sum(turn.seconds for turn in taken),
                score=score(pairs(part, texts)),
            )
            found.files.append(row)
            found.answers += _answers(row.name, model, part, texts)
            report(line(row))
            if options.worst:
                report(worst(part, texts, options.worst))
        _save(options, found)


def _measure_streams(
    ours: Ours,
    recordings: list[Recording],
    n_streams: int,
    options: argparse.Namespace,
    found: Found,
) -> None:
    sets = by_set(recordings)
    for name in options.stream_set or sets:
        part = sets.get(name, [])
        if not part:
            continue
        as_files = ours.transcribe(part)
        runs = asyncio.run(ours.stream(part, n_streams))
        for recording, run in zip(part, runs, strict=True):
            if run.failure:
                report(f"{recording.path}: {run.failure}")
        parts = zip(part, runs, strict=True)
        texts = [run.text for run in runs]
        row = StreamRow(
            model=ours.model,
            set=name,
            arithmetic=ours.arithmetic,
            n_streams=n_streams,
            n_files=len(part),
            n_failed=sum(run.failure is not None for run in runs),
            n_warnings=sum(len(run.of("warning")) for run in runs),
            live=score(pairs(part, texts)),
            file=score(pairs(part, as_files.texts)),
            timeliness=together(timeliness(run, recording.language) for recording, run in parts),
        )
        found.streams.append(row)
        found.answers += _answers(f"{n_streams} at once as streams", ours.model, part, texts)
        report(stream_table([row]).splitlines()[-1])
        if options.worst:
            report(worst(part, texts, options.worst))


def _peer(name: str, model: str, options: argparse.Namespace) -> AbstractContextManager[Peer]:
    weights = weights_of(model, options.model_dir)
    return running_peer(name, weights, _CACHE, n_threads=options.threads, detect=options.detect)


@contextmanager
def _service(model: str, dtype: str, options: argparse.Namespace) -> Iterator[Service]:
    _CACHE.mkdir(parents=True, exist_ok=True)
    settings = {
        "WHISPER_DEFAULT_MODEL": model,
        "WHISPER_MODEL_DIR": str(options.model_dir),
        "WHISPER_DEMO_FALLBACK": "false",
        "WHISPER_DTYPE": dtype,
        "WHISPER_DEVICE": "cpu",
        "WHISPER_ASR_NUM_CPUS": str(options.threads),
        # Ray's workers give way to all else on their machine (niceness 15): here to the peers.
        "RAY_worker_niceness": "0",
    }
    report(f"{model}, {_arithmetic(dtype)}: starting the service")
    with local_service(settings, _CACHE / "service.log") as service:
        yield service


def _chosen(options: argparse.Namespace) -> list[Recording]:
    sets = by_set(read_corpus(options.corpus))
    wanted = options.set or list(sets)
    if unknown := [name for name in [*wanted, *options.stream_set] if name not in sets]:
        raise CorpusError(f"{options.corpus} has no set {unknown[0]!r}; it has {', '.join(sets)}")
    return [recording for name in wanted for recording in sets[name][: options.max_files]]


def _check(options: argparse.Namespace) -> None:
    """Everything that would fail an hour later."""
    if "faster-whisper" in options.against and find_spec("faster_whisper") is None:
        raise Unfit("faster-whisper is not installed: pip install faster-whisper")
    for dtype in options.dtype:
        try:
            _arithmetic(dtype)
        except ValueError as error:
            raise Unfit(f"--dtype {dtype}: {error}") from error
    for path in (options.json, options.answers):
        if path and not path.parent.is_dir():
            raise Unfit(f"there is no folder {path.parent} to write to")
    for model in options.model:
        weights_of(model, options.model_dir)


def _fit(model: str, recordings: list[Recording]) -> list[Recording]:
    """Those that the model has a language for."""
    if not model.endswith(".en"):
        return recordings
    english = [recording for recording in recordings if recording.language == "en"]
    if not english:
        raise Unfit(f"{model} is English only, and no set that was chosen is")
    if left_out := {r.set for r in recordings} - {r.set for r in english}:
        report(f"{model} is English only: without {', '.join(sorted(left_out))}")
    return english


def _arithmetic(dtype: Any) -> str:
    """What `auto` is here, too. Raises ValueError if the processor has not got it."""
    precision = resolve_precision(dtype, torch.device("cpu"))
    return str(precision.dtype).removeprefix("torch.") if dtype == "auto" else str(dtype)


def _answers(
    system: str, model: str, recordings: Sequence[Recording], texts: Sequence[str]
) -> list[dict[str, str]]:
    return [
        {
            "model": model,
            "system": system,
            "file": f"{recording.set}/{recording.path.name}",
            "spoken": recording.text,
            "written": text,
        }
        for recording, text in zip(recordings, texts, strict=True)
    ]


def _save(options: argparse.Namespace, found: Found) -> None:
    """After every set, so that an end before the end loses little."""
    if options.json:
        write_json(_facts(options), found.files, found.streams, options.json)
    if options.answers:
        write_answers(found.answers, options.answers)


def _facts(options: argparse.Namespace) -> dict[str, Any]:
    return {
        **machine.describe(),
        "date": date.today().isoformat(),
        "load_average": os.getloadavg()[0],
        "threads": options.threads,
        "uploads_at_once": options.parallel,
        "detect": options.detect,
        "frame_seconds": FRAME_SECONDS,
        "versions": {name: _version(name) for name in ("jiwer", *PEERS)},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("corpus", type=Path, help="a manifest, or a folder in LibriSpeech's layout")
    add("--model", type=_names, default="base", help="one or more, with commas (%(default)s)")
    add("--model-dir", type=Path, default=Settings().weights_dir, help="the weights (%(default)s)")
    add("--set", type=_names, default="", help="sets of the corpus, with commas (all)")
    add("--max-files", type=int, help="of each set, its first ones (all)")
    add("--dtype", type=_names, default="auto", help=f"{', '.join(DTYPES)} (%(default)s)")
    add("--against", type=_names, default="", help=f"{', '.join(PEERS)} (none)")
    add("--streams", type=_names, default="", help="numbers of streams at once, as 1,4 (none)")
    add("--stream-set", type=_names, default="", help="sets that are streamed (those chosen)")
    add("--no-files", action="store_true", help="streams only, and their recordings as files")
    add("--detect", action="store_true", help="let everybody find the language out")
    add("--parallel", type=int, default=8, help="uploads at once (%(default)s)")
    add("--threads", type=int, default=os.cpu_count(), help="of each engine (%(default)s)")
    add("--worst", type=int, default=0, metavar="N", help="show N files with the most errors")
    add("--json", type=Path, metavar="FILE", help="where the figures go")
    add("--answers", type=Path, metavar="FILE", help="where all texts go, a JSON object a line")
    options = parser.parse_args()
    for name, allowed in (("dtype", DTYPES), ("against", PEERS)):
        if wrong := [value for value in getattr(options, name) if value not in allowed]:
            parser.error(f"--{name}: {wrong[0]!r} is none of {', '.join(allowed)}")
    if not all(text.isdigit() and int(text) for text in options.streams):
        parser.error("--streams: numbers from 1 on, with commas")
    options.streams = [int(text) for text in options.streams]
    options.model_dir = options.model_dir.expanduser().resolve()
    return options


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


if __name__ == "__main__":
    sys.exit(main())
