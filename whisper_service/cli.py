"""The command `whisper-streaming`: the commands of all packages in one."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from whisper_service import __version__
from whisper_service.client import cli as client
from whisper_service.command import new_app, run
from whisper_service.keys import cli as keys
from whisper_service.models import cli as models
from whisper_service.serving import cli as serving
from whisper_service.wyoming import cli as wyoming

_SERVICE, _CLIENT = "The service", "Clients of a running service"

app = new_app("Whisper behind Ray Serve and FastAPI: files and live audio to text.")
app.command(cls=serving.ServeCommand, rich_help_panel=_SERVICE)(serving.serve)
app.command(epilog=models.HELP, rich_help_panel=_SERVICE)(models.models)
app.add_typer(keys.app, name="keys", rich_help_panel=_SERVICE)
app.command(epilog=client.TRANSCRIBE_HELP, rich_help_panel=_CLIENT)(client.transcribe)
app.command(cls=client.StreamCommand, epilog=client.STREAM_HELP, rich_help_panel=_CLIENT)(
    client.stream
)
app.command(epilog=wyoming.HELP, rich_help_panel=_CLIENT)(wyoming.wyoming)


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
