"""The command `keys`: make, list and remove API keys."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from whisper_service.command import epilog, fail, new_app, run
from whisper_service.keys.file import KeysError, read_keys, write_keys
from whisper_service.keys.key import SCOPES, ApiKey, hash_key, new_key

File = Annotated[
    Path,
    typer.Option(
        envvar="WHISPER_API_KEYS_FILE",
        metavar="PATH",
        help="The keys file, as the service has it.",
        show_default=False,
    ),
]
_LIMITS = "Limits of the key"


class _Scope(StrEnum):
    """`SCOPES`, as Typer takes a choice that may be repeated."""

    TRANSCRIBE = SCOPES[0]
    STREAM = SCOPES[1]


app = new_app("Make, list and remove API keys. A running service reads the file again by itself.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the process's exit code."""
    return run(app, "python -m whisper_service.keys", arguments)


def _limit(help: str) -> Any:
    return typer.Option(metavar="N", help=help, rich_help_panel=_LIMITS, show_default=False)


@app.command(
    epilog=epilog(
        ("Example", "  whisper-streaming keys new web --scope stream --file keys.json"),
        ("Exit status", "  0  done\n  1  the key or the file cannot be\n  2  wrong arguments"),
    )
)
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Whose key it is: letters, digits, . _ -")
    ],
    file: File,
    scope: Annotated[
        list[_Scope] | None,
        typer.Option(
            help="What it opens: files or sockets; may be repeated (both).", show_default=False
        ),
    ] = None,
    requests_per_minute: Annotated[int | None, _limit("(the service's default)")] = None,
    upload_bytes_per_minute: Annotated[int | None, _limit("(the same)")] = None,
    max_uploads: Annotated[int | None, _limit("At once.")] = None,
    max_streams: Annotated[int | None, _limit("At once.")] = None,
) -> None:
    """Make a key. It is printed once; the file keeps its hash alone."""
    with _told():
        keys = read_keys(file) if file.exists() else ()
        if any(key.name == name for key in keys):
            raise KeysError(f"There is a key named {name!r} already; remove it first.")
        secret = new_key()
        key = ApiKey(
            name=name,
            sha256=hash_key(secret),
            scopes=tuple(dict.fromkeys(each.value for each in scope or _Scope)),
            requests_per_minute=requests_per_minute,
            upload_bytes_per_minute=upload_bytes_per_minute,
            max_uploads=max_uploads,
            max_streams=max_streams,
        )
        write_keys(file, [*keys, key])
    typer.echo(secret)
    typer.echo(f"Kept as a hash in {file}; the key itself is shown only now.", err=True)


@app.command("list")
def list_keys(file: File) -> None:
    """List names, scopes and limits."""
    with _told():
        keys = read_keys(file)
    for key in keys:
        limits = key.model_dump(exclude={"name", "sha256", "scopes"}, exclude_none=True)
        words = [",".join(key.scopes), *(f"{name}={value}" for name, value in limits.items())]
        typer.echo(f"{key.name}  {'  '.join(words)}")


@app.command()
def remove(name: Annotated[str, typer.Argument(metavar="NAME")], file: File) -> None:
    """Take a key back."""
    with _told():
        keys = read_keys(file)
        kept = [key for key in keys if key.name != name]
        if len(kept) == len(keys):
            names = ", ".join(key.name for key in keys) or "none"
            raise KeysError(f"There is no key named {name!r}; there are: {names}.")
        write_keys(file, kept)


@contextmanager
def _told() -> Iterator[None]:
    """End the command with a sentence where keys cannot be read, made or written."""
    try:
        yield
    except ValidationError as error:
        failure = error.errors()[0]
        fail(f"{failure['loc'][0]}: {failure['msg']}.", 1)
    except (KeysError, OSError) as error:
        fail(str(error), 1)
