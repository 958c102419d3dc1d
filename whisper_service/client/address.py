"""Where a service is: the arguments that say it, and addresses from whatever a person writes."""

import argparse
import os
from urllib.parse import urlsplit, urlunsplit

from whisper_service.client.failure import ClientFailure, ExitCode
from whisper_service.client.key import VARIABLE


def add_service(command: argparse.ArgumentParser) -> None:
    """Let a command be told which service to use, and with which key: --url and --key."""
    command.add_argument("--url", default="http://localhost:8000", help="the service (%(default)s)")
    command.add_argument(
        "--key",
        default=os.environ.get(VARIABLE),
        help=f"an API key; better in {VARIABLE}, since others can see arguments",
    )


def http_address(url: str) -> str:
    """Return the service's base address, without a slash at its end. Raises `ClientFailure`."""
    return _with_scheme(url, {"ws": "http", "wss": "https"}).rstrip("/")


def stream_address(url: str) -> str:
    """Return the address of its socket /stream. Raises `ClientFailure`."""
    return _with_scheme(url, {"http": "ws", "https": "wss"}).rstrip("/") + "/stream"


def _with_scheme(url: str, schemes: dict[str, str]) -> str:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    scheme = schemes.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https", "ws", "wss") or not parts.netloc:
        raise ClientFailure(f"--url {url!r} is no http address.", ExitCode.UNREACHABLE)
    return urlunsplit((scheme, parts.netloc, parts.path, "", ""))
