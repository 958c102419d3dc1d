"""The command `transcribe`: one recording after the other, whatever becomes of each."""

import io
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_service.client import output
from whisper_service.client.display import Display
from whisper_service.client.failure import ClientFailure, ExitCode, concerns_all
from whisper_service.client.inputs import Input, name_results
from whisper_service.client.transcribe import transcribe_input


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be done with every recording."""

    url: str
    key: str | None
    form: Mapping[str, str]
    """The fields of the upload."""
    ending: output.Form
    """The format of the results, by the ending of their files."""
    output: Path | None
    """A folder, or a file for one result; None is standard output."""

    @property
    def shows_text(self) -> bool:
        """Text goes to standard output as it comes; else a result does, once it is whole."""
        return self.ending == "txt" and self.output is None


@dataclass(frozen=True, slots=True)
class _Row:
    """What became of a recording, as the table at the end says it."""

    name: str
    language: str = ""
    length: str = ""
    took: str = ""
    result: str = ""


async def transcribe_all(inputs: Sequence[Input], wanted: Wanted) -> ExitCode:
    """Transcribe each, and say at the end what became of them, if they are several.

    Returns the exit code of the first that failed. Raises `ClientFailure` where nothing can be
    done at all, before any work.
    """
    targets = _targets(inputs, wanted)
    rows: list[_Row] = []
    code = ExitCode.OK
    for number, (each, target) in enumerate(zip(inputs, targets, strict=True), 1):
        began = time.monotonic()
        label = f"{number} of {len(inputs)}, {each.name}" if len(inputs) > 1 else each.name
        try:
            row = await _transcribe(each, label, wanted, target)
        except ClientFailure as failure:
            if len(inputs) == 1:
                raise
            code = code or failure.code
            told = failure.message.removeprefix(f"{each.shown}: ")
            print(f"error: {each.shown}: {told}", file=sys.stderr)
            row = _Row(each.shown, result=f"failed: {told}")
            if concerns_all(failure):
                rest = inputs[number:]
                rows += [row, *(_Row(other.shown, result="not tried") for other in rest)]
                break
        took = f"{time.monotonic() - began:.1f} s"
        rows.append(_Row(row.name, row.language, row.length, took, row.result))
    if len(inputs) > 1:
        _print_table(rows)
    return code


async def _transcribe(each: Input, label: str, wanted: Wanted, target: Path | None) -> _Row:
    display = Display(sys.stdout if wanted.shows_text else io.StringIO(), is_live=False)
    progress = Display(sys.stderr, is_live=sys.stderr.isatty())
    transcript = await transcribe_input(
        wanted.url, each, label, wanted.form, display, progress, key=wanted.key
    )
    for warning in transcript.warnings:
        print(f"warning: {each.shown}: {warning}", file=sys.stderr)
    if not wanted.shows_text:
        output.write(transcript, wanted.ending, target)
    seconds = round(transcript.duration)
    length = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return _Row(each.shown, transcript.language, length, result=str(target or "standard output"))


def _targets(inputs: Sequence[Input], wanted: Wanted) -> list[Path | None]:
    """Where each result goes; raises `ClientFailure` where that cannot be, or not for all."""
    path = wanted.output
    if path is None:
        if len(inputs) > 1 and not wanted.shows_text:
            raise ClientFailure(
                f"Several documents of {wanted.ending} cannot follow one another on standard"
                " output; name a folder for them: --output FOLDER.",
                ExitCode.UNREADABLE,
            )
        return [None] * len(inputs)
    if path.is_dir():
        return [path / name for name in name_results(inputs, wanted.ending)]
    if len(inputs) > 1:
        raise ClientFailure(f"{path} is no folder; there are several files.", ExitCode.UNREADABLE)
    if not path.parent.is_dir():
        raise ClientFailure(f"{path}: there is no folder {path.parent}.", ExitCode.UNREADABLE)
    return [path]


def _print_table(rows: Sequence[_Row]) -> None:
    table = [("file", "language", "length", "took", "result")]
    table += [(row.name, row.language, row.length, row.took, row.result) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    out = Display(sys.stderr, is_live=False)
    for line in table:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        out.final("  ".join(cells))
    n_failed = sum(row.result.startswith(("failed", "not tried")) for row in rows)
    out.final(f"{len(rows) - n_failed} of {len(rows)} done.")
