"""Tell by its text whether an address may lie in the public network. Names are not resolved here."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+")
_HEAD = re.compile(r"https?://[!-\[\]-~]+?(?:[/?#]|\Z)", re.IGNORECASE)
"""The start of an address up to its path: visible, and without a backslash, which clients read in different ways."""
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_PRIVATE_ENDINGS = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "arpa", "test", "invalid")


def is_public_address(url: str) -> bool:
    """Return True for an http(s) address without user and password whose host is a public name or IP address.

    Hosts written as one number, in octal or in hex are refused, since some clients take them for IP addresses.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme not in ("https", "http") or "@" in parts.netloc or port == 0 or not _HEAD.match(url):
        return False
    try:
        return _is_public_ip(ipaddress.ip_address(host))
    except ValueError:
        return _is_public_name(host.removesuffix("."))


def _is_public_ip(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        carried = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ()))
        is_translated = address in ipaddress.IPv6Network("64:ff9b::/96") or int(address) >> 32 == 0
        if is_translated or any(one is not None and not _is_public_ip(one) for one in carried):
            return False
    return address.is_global and not address.is_multicast


def _is_public_name(host: str) -> bool:
    *_, last = host.split(".")
    return bool(_HOST.fullmatch(host)) and not _NUMBER.fullmatch(last) and last not in _PRIVATE_ENDINGS
