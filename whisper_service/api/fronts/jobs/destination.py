"""Where webhooks may go: addresses of the public internet, and networks that an operator names.

Whoever may make jobs chooses where this service sends requests to, from inside of its network
(server-side request forgery, OWASP). A name is resolved once, what it resolves to is looked at, and
that very address is connected to, so that no second answer of the name's owner counts.
"""

import asyncio
import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx

from whisper_service.api.http.errors import shown
from whisper_service.errors import InvalidParameter
from whisper_service.settings import Settings

MAX_URL = 2048
"""Characters."""
_NAT64 = ip_network("64:ff9b::/96")
"""Whose addresses are IPv4 ones in other words (RFC 6052)."""
_ALLOWED = "an http or https address of the public internet, without a user name"

_HOST = re.compile(rb"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
"""A name, in ASCII by then, or an address."""

Address = IPv4Address | IPv6Address


class NotAllowed(Exception):
    """A webhook may not go there."""


class Destinations:
    """What an operator lets webhooks reach."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks = [ip_network(network) for network in networks]

    def may_reach(self, address: Address) -> bool:
        """Whether an address is one of the public internet, or in a network that is let in."""
        if any(address in network for network in self._networks):
            return True
        address = _inner(address)
        if isinstance(address, IPv6Address) and address.is_site_local:
            return False
        return address.is_global and not address.is_multicast

    async def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be connected to, at least one.

        Raises `NotAllowed` if there is none, and OSError if the name is not known.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = dict.fromkeys(ip_address(str(each[4][0]).partition("%")[0]) for each in found)
        allowed = [str(address) for address in addresses if self.may_reach(address)]
        if not allowed:
            raise NotAllowed
        return allowed


def _inner(address: Address) -> Address:
    """What an address that only wraps an IPv4 one leads to."""
    if isinstance(address, IPv6Address):
        if wrapped := address.ipv4_mapped or address.sixtofour:
            return wrapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def read_webhook_url(text: str, settings: Settings) -> str:
    """A `webhook_url` in its normal form; raises `InvalidParameter`.

    Refuses what can be seen to be wrong. Where a name leads is looked at whenever it is sent to.
    """
    if not settings.webhook_secret:
        raise InvalidParameter(
            "`webhook_url` cannot be honoured: this service has no secret to sign webhooks with"
            " (WHISPER_WEBHOOK_SECRET). Ask for the job by its id instead.",
            param="webhook_url",
            allowed="nothing",
        )
    try:
        url = httpx.URL(text)
        is_fit = (
            url.scheme in ("http", "https")
            and _HOST.fullmatch(url.raw_host) is not None
            and (url.port is None or 0 < url.port < 2**16)
            and not url.userinfo
        )
    except (httpx.InvalidURL, ValueError):  # of text that is no UTF-8, too
        is_fit = False
    if is_fit:
        url = url.copy_with(fragment=None)
        is_fit = len(str(url)) <= MAX_URL and _may_be_reached(url, settings)
    if not is_fit:
        got = shown(text)
        raise InvalidParameter(
            f"`webhook_url` is {got!r}; allowed is {_ALLOWED}.",
            param="webhook_url",
            got=got,
            allowed=_ALLOWED,
        )
    return str(url)


def _may_be_reached(url: httpx.URL, settings: Settings) -> bool:
    """False for an address, in numbers, that is out of reach."""
    try:
        address = ip_address(url.host)
    except ValueError:
        return True  # a name
    return Destinations(settings.webhook_private_networks).may_reach(address)
