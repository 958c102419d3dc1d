"""The command line of the bridge: where it listens, where the service is, and the limits."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from functools import partial
from urllib.parse import urlsplit

from wyoming.server import AsyncServer

from whisper_service.client.address import add_service, http_address
from whisper_service.client.failure import ClientFailure, ExitCode
from whisper_service.wyoming.conversation import Conversation, Door
from whisper_service.wyoming.description import describe
from whisper_service.wyoming.utterance import Limits, Service

logger = logging.getLogger(__name__)

_EPILOG = """\
Wyoming has no keys and no encryption: whoever reaches the port can use the service, with the
bridge's key. Bind it where only Home Assistant does, or behind a firewall.

example:
  python -m whisper_service.wyoming --uri tcp://0.0.0.0:10300 --url http://localhost:8000
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C, and return the process's exit code."""
    command = parser()
    options = command.parse_args(arguments)
    try:
        server, service, door = (
            _server(options.uri),
            _service(options),
            Door(options.max_connections),
        )
    except (ValueError, ClientFailure) as error:
        command.error(str(error))
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(_serve(server, service, door, options.uri))
    except OSError as error:  # the port is taken, or not ours to have
        print(f"error: {options.uri}: {error.strerror or error}", file=sys.stderr)
        return ExitCode.UNREACHABLE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def parser() -> argparse.ArgumentParser:
    """All there is to choose."""
    top = argparse.ArgumentParser(
        prog="python -m whisper_service.wyoming",
        description="Let Home Assistant, and all that speaks Wyoming, use a running service.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    limits = Limits()
    top.add_argument(
        "--uri",
        default="tcp://127.0.0.1:10300",
        help="tcp://HOST:PORT or unix://PATH (%(default)s)",
    )
    add_service(top)
    top.add_argument("--model", help="where a client names none (the service's default)")
    top.add_argument("--language", help="where a client names none (detected)")
    top.add_argument(
        "--max-connections", type=int, default=32, metavar="N", help="at once (%(default)s)"
    )
    for name, default, meaning in (
        ("--max-audio", limits.max_audio, "the longest utterance, up to 600"),
        ("--answer-timeout", limits.answer_timeout, "from its end to the transcript"),
        ("--retry", limits.patience, "how long to reconnect to the service for"),
    ):
        top.add_argument(
            name, type=float, default=default, metavar="S", help=f"seconds: {meaning} (%(default)g)"
        )
    return top


def _server(uri: str) -> AsyncServer:
    """Raises `ValueError`. The library's stdio:// is left out: it has one client, and no limits."""
    if urlsplit(uri).scheme not in ("tcp", "unix"):
        raise ValueError(f"--uri {uri!r} has to be tcp://HOST:PORT or unix://PATH")
    return AsyncServer.from_uri(uri)


def _service(options: argparse.Namespace) -> Service:
    """Raises `ValueError` or `ClientFailure`."""
    limits = Limits(options.max_audio, options.answer_timeout, options.retry)
    url = http_address(options.url)
    return Service(url, options.key, options.model, options.language, limits)


async def _serve(server: AsyncServer, service: Service, door: Door, uri: str) -> None:
    try:
        info = await describe(service.url, service.key, service.model)
        models = ", ".join(model.name for program in info.asr for model in program.models)
        logger.info("The service at %s has %s", service.url, models)
    except ClientFailure as failure:  # it may come later; until then clients are told
        logger.warning("%s", failure.message)
    logger.info("Wyoming clients are served at %s", uri)
    await server.run(partial(Conversation, door=door, service=service))
