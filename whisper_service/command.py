"""What all commands share: how one is made, run and ended.

Each package that has commands keeps them in its own `cli.py`; `whisper_service.cli` puts them
together as `whisper-streaming`. This module knows none of them.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.markup import escape

SERVICE, CLIENTS = "The service", "Clients of a running service"
"""The groups of commands in the --help of `whisper-streaming`."""


def new_app(summary: str) -> typer.Typer:
    """An application without commands; `summary` is the first line of its --help."""
    return typer.Typer(
        help=summary,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )


def run(app: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run the command that arguments name, and return the process's exit code.

    `name` is how the program was called, as --help shows it. Wrong arguments are exit code 2.
    """
    try:
        app(args=arguments, prog_name=name)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0


def fail(message: str, code: int) -> NoReturn:
    """End the command with a message on the error output and an exit code."""
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(code)


@contextmanager
def needs_the_service() -> Iterator[None]:
    """Say what to install where an import of the service fails: the client works without it."""
    try:
        yield
    except ModuleNotFoundError as error:
        fail(
            f"This command needs the whole service, and {error.name} is not installed:"
            " pip install whisper-streaming",
            1,
        )


def epilog(*sections: tuple[str, str]) -> str:
    """The end of a --help: titles, and under each a text that is printed as it stands."""
    return "\n\n".join(f"[bold]{title}[/bold]\n{escape(text)}" for title, text in sections)
