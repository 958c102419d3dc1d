"""Where a service is: the options that say it, and addresses from whatever a person writes."""

from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

import typer

from whisper_service.client.failure import ClientFailure, ExitCode
from whisper_service.client.key import VARIABLE

DEFAULT_URL = "http://localhost:8000"
_PANEL = "Service"

Url = Annotated[str, typer.Option(help="Address of the service.", rich_help_panel=_PANEL)]
Key = Annotated[
    str | None,
    typer.Option(
        envvar=VARIABLE,
        help="API key; better in the variable, since other users can see arguments.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]


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
