"""Decide which URLs may be called: by their text, and again by the addresses that their hosts turn out to have.

Connections go to the addresses that were checked, never to a second answer of the DNS.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct

from promptmill.domain.errors import RouteClosedError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST = re.compile(r"(?=.{1,254}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_NUMBER = re.compile(r"\d+|0[xX][0-9a-fA-F]*")
_VISIBLE = re.compile(r"[!-~]+")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NEVER = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "169.254.0.0/16",  # link-local: metadata and credentials of instances, containers and functions
            "fe80::/10",
            "fec0::/10",
            "fd00:ec2::/32",  # the same over IPv6
            "168.63.129.16/32",  # Azure's
            "100.100.100.200/32",  # Alibaba's
            "fd20:ce::254/128",  # Google's
            "fd00:c1::/32",  # Oracle's
            "192.0.0.0/24",
            "240.0.0.0/4",
            "64:ff9b:1::/48",
            "::/128",
        ),
    )
)


class UrlPolicy(Struct, frozen=True):
    """The addresses that a deployment may call.

    Attributes:
        local: allows plain HTTP to loopback addresses. (The loopback of a function is Lambda's runtime.)
        private_ranges: the private addresses that may be called.
    """

    local: bool = False
    private_ranges: tuple[Network, ...] = ()

    def allows(self, address: Address) -> bool:
        """Return True if a connection may go there. An address that carries another one must be allowed as both."""
        return all(self._allows(one) for one in (address, *_carried_addresses(address)))

    def _allows(self, address: Address) -> bool:
        if address.is_loopback:
            return self.local
        if address.is_multicast or any(address in network for network in _NEVER):
            return False
        if isinstance(address, ipaddress.IPv6Address) and _carried_addresses(address):
            return True  # its inner address decides
        return address.is_global or any(address in network for network in self.private_ranges)


def make_url_policy(*, local: bool, private_ranges: str) -> UrlPolicy:
    """Return the policy; ``private_ranges`` are CIDR blocks, separated by commas. Raise ValueError for any other text."""
    blocks = (block.strip() for block in private_ranges.split(","))
    return UrlPolicy(local, tuple(ipaddress.ip_network(block) for block in blocks if block))


def _carried_addresses(address: Address) -> tuple[Address, ...]:
    """Return the IPv4 addresses that an IPv6 address carries: mapped, compatible, 6to4, Teredo, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    found: tuple[Address | None, ...] = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ()))
    if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        found = (*found, last)
    return tuple(one for one in found if one is not None)


@lru_cache(maxsize=256)
def check_url(url: str, policy: UrlPolicy) -> None:
    """Check a URL by its text alone.

    Raises:
        RouteClosedError: not https (``insecure_url``), not a URL that can be called (``bad_url``), or one of an address
            that this deployment does not call (``private_address``).
    """
    parts = _split(url)
    host = parts.hostname or ""
    address = _parse_address(host)
    if parts.scheme != "https" and not (parts.scheme == "http" and policy.local and _is_loopback(host, address)):
        raise RouteClosedError("insecure_url", "only https is called")
    if not host or "@" in parts.netloc or parts.fragment or not _VISIBLE.fullmatch(url) or "\\" in url:
        raise RouteClosedError("bad_url", "a URL with a host and without user, password and fragment is needed")
    if address is not None:
        if not policy.allows(address):
            raise address_refused(host)
    elif not _HOST.fullmatch(host) or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise RouteClosedError("bad_url", "not the name of a host")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.port == 0:
            raise ValueError("port 0")  # noqa: TRY301 (as any other port that is none)
    except ValueError as error:
        raise RouteClosedError("bad_url", "not a URL") from error
    return parts


def _parse_address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str, address: Address | None) -> bool:
    return host == "localhost" if address is None else address.is_loopback


def address_refused(host: str) -> RouteClosedError:
    """Return the error for an address that may not be called; it does not say which one."""
    return RouteClosedError("private_address", f"{host} has an address that this deployment does not call")


class CheckedResolver(AbstractResolver):
    """Resolve names. A name with one address that may not be called is not trusted at all."""

    def __init__(self, policy: UrlPolicy, resolver: AbstractResolver) -> None:
        self._policy, self._resolver = policy, resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses. Raise RouteClosedError (``private_address``), or OSError if there is no such host."""
        found = await self._resolver.resolve(host, port, family)
        if not all(self._policy.allows(ipaddress.ip_address(one["host"].partition("%")[0])) for one in found):
            raise address_refused(host)
        return found

    async def close(self) -> None:
        await self._resolver.close()
