"""The command `wyoming`: where the bridge listens, where the service is, and the limits."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from wyoming.server import AsyncServer

from whisper_service.client.address import DEFAULT_URL, Key, Url, http_address
from whisper_service.client.failure import ClientFailure, ExitCode
from whisper_service.command import CLIENTS, epilog, fail, new_app, run
from whisper_service.wyoming.conversation import Conversation, Door
from whisper_service.wyoming.description import describe
from whisper_service.wyoming.utterance import Limits, Service

logger = logging.getLogger(__name__)

_HELP = epilog(
    (
        "Safety",
        "Wyoming has no keys and no encryption: whoever reaches the port can use the service, with"
        " the bridge's key. Bind it where only Home Assistant is, or behind a firewall.",
    ),
    (
        "Example",
        "  whisper-streaming wyoming --uri tcp://0.0.0.0:10300 --url http://whisper:8000",
    ),
    (
        "Exit status",
        "  0    terminated\n  2    wrong arguments\n  3    the port is taken\n  130  interrupted",
    ),
)
_LIMITS = Limits()

app = new_app("Let Home Assistant, and all that speaks Wyoming, use a running service.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C, and return the process's exit code."""
    return run(app, "python -m whisper_service.wyoming", arguments)


def _seconds(meaning: str) -> Any:
    return typer.Option(metavar="SECONDS", help=meaning, rich_help_panel="Limits")


@app.command(epilog=_HELP, rich_help_panel=CLIENTS)
def wyoming(
    uri: Annotated[
        str, typer.Option(help="Where it listens: tcp://HOST:PORT or unix://PATH.")
    ] = "tcp://127.0.0.1:10300",
    model: Annotated[
        str | None,
        typer.Option(help="Where a client names none (the service's default).", show_default=False),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Where a client names none (detected).", show_default=False)
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    max_connections: Annotated[
        int, typer.Option(metavar="N", help="Connections at once.", rich_help_panel="Limits")
    ] = 32,
    max_audio: Annotated[float, _seconds("The longest utterance, up to 600.")] = _LIMITS.max_audio,
    answer_timeout: Annotated[
        float, _seconds("From an utterance's end to its transcript.")
    ] = _LIMITS.answer_timeout,
    retry: Annotated[
        float, _seconds("How long to reconnect to the service for.")
    ] = _LIMITS.patience,
) -> None:
    """Let Home Assistant, and all that speaks Wyoming, use a running service."""
    try:
        server = _server(uri)
        limits = Limits(max_audio, answer_timeout, retry)
        service = Service(http_address(url), key, model, language, limits)
        door = Door(max_connections)
    except (ValueError, ClientFailure) as error:
        fail(str(error), ExitCode.WRONG_ARGUMENTS)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(_serve(server, service, door, uri))
    except OSError as error:  # the port is taken, or not ours to have
        fail(f"{uri}: {error.strerror or error}", ExitCode.UNREACHABLE)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _server(uri: str) -> AsyncServer:
    """Raises `ValueError`. The library's stdio:// is left out: it has one client, and no limits."""
    if urlsplit(uri).scheme not in ("tcp", "unix"):
        raise ValueError(f"--uri {uri!r} has to be tcp://HOST:PORT or unix://PATH")
    return AsyncServer.from_uri(uri)


async def _serve(server: AsyncServer, service: Service, door: Door, uri: str) -> None:
    try:
        info = await describe(service.url, service.key, service.model)
        models = ", ".join(model.name for program in info.asr for model in program.models)
        logger.info("The service at %s has %s", service.url, models)
    except ClientFailure as failure:  # it may come later; until then clients are told
        logger.warning("%s", failure.message)
    logger.info("Wyoming clients are served at %s", uri)
    await server.run(partial(Conversation, door=door, service=service))
