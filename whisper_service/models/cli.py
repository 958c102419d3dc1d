"""The command `models`: bring models to this machine ahead of time.

Where they go and where they may come from is said by the service's own settings:
`WHISPER_MODEL_DIR` and so on.
"""

import logging
from collections.abc import Sequence
from typing import Annotated

import typer

from whisper_service.command import SERVICE, epilog, fail, needs_the_service, new_app, run

_HELP = epilog(
    ("Example", "  WHISPER_MODEL_DIR=/models whisper-streaming models base turbo"),
    ("Exit status", "  0  done\n  1  a model could not be had\n  2  wrong arguments"),
)

app = new_app("Download models ahead of time.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the process's exit code."""
    return run(app, "python -m whisper_service.models", arguments)


@app.command(epilog=_HELP, rich_help_panel=SERVICE)
def models(
    names: Annotated[
        list[str], typer.Argument(metavar="MODEL", help="Such as base, or OWNER/NAME.")
    ],
) -> None:
    """Download models ahead of time, and print where each lies."""
    with needs_the_service():
        from whisper_service.errors import ServiceError
        from whisper_service.models.store import ModelStore
        from whisper_service.settings import Settings

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    store = ModelStore.of(Settings())
    for name in names:
        try:
            typer.echo(store.ensure(store.canonical(name)).path)
        except ServiceError as error:
            fail(error.message, 1)
