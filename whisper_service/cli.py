"""The command `whisper-streaming`: the commands of all packages in one."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from whisper_service import __version__
from whisper_service.client import cli as client
from whisper_service.command import SERVICE, new_app, run
from whisper_service.keys import cli as keys
from whisper_service.models import cli as models
from whisper_service.serving import cli as serving
from whisper_service.wyoming import cli as wyoming

app = new_app("Whisper behind Ray Serve and FastAPI: files and live audio to text.")
for package in (serving, models):
    app.add_typer(package.app)
app.add_typer(keys.app, name="keys", rich_help_panel=SERVICE)
for package in (client, wyoming):
    app.add_typer(package.app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the process's exit code."""
    return run(app, "whisper-streaming", arguments)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"whisper-streaming {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Whisper behind Ray Serve and FastAPI: files and live audio to text."""


if __name__ == "__main__":
    sys.exit(main())
