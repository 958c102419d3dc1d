"""The addresses of a service, from whatever a person writes after --url."""

from urllib.parse import urlsplit, urlunsplit

from whisper_service.client.failure import ClientFailure, ExitCode


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
