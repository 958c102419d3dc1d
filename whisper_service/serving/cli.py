"""The command `serve`: the service on this machine, configured by the environment."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from whisper_service.command import SERVICE, epilog, needs_the_service, new_app, run

app = new_app("Serve Whisper over HTTP and WebSocket.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C or SIGTERM, and return the process's exit code."""
    return run(app, "python -m main", arguments)


class _ServeCommand(TyperCommand):
    """Its --help ends with every setting. They are read only then: the client has none."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the --help."""
        with needs_the_service():
            from whisper_service.settings import settings_text

        self.epilog = epilog(
            (
                "Examples",
                "  whisper-streaming serve --model small\n"
                "  WHISPER_API_KEYS_FILE=keys.json whisper-streaming serve --host 0.0.0.0",
            ),
            ("Exit status", "  0  stopped\n  1  it could not start\n  2  wrong arguments"),
            ("Settings, from the environment, with their defaults", settings_text()),
        )
        super().format_help(ctx, formatter)


def _setting(help: str) -> Any:
    return typer.Option(help=help, show_default=False)


@app.command(cls=_ServeCommand, rich_help_panel=SERVICE)
def serve(
    host: Annotated[str | None, _setting("As WHISPER_HOST, which it wins over.")] = None,
    port: Annotated[int | None, _setting("As WHISPER_PORT.")] = None,
    model: Annotated[str | None, _setting("As WHISPER_DEFAULT_MODEL.")] = None,
) -> None:
    """Serve Whisper over HTTP and WebSocket, on this machine."""
    with needs_the_service():
        from whisper_service.serving.local import serve_here

    given = {"host": host, "port": port, "default_model": model}
    chosen = {name: value for name, value in given.items() if value is not None}
    raise typer.Exit(serve_here(chosen))
