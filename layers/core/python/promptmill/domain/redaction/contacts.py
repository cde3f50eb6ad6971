"""E-mail addresses, credentials in URLs, IP addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptmill.domain.redaction.spans import Span
from promptmill.domain.redaction.subject import Subject

_EMAIL = r"[\pL\pN._%+'\-]+@(?:[\pL\pN](?:[\pL\pN\-]*[\pL\pN])?\.)+(?:xn--[a-zA-Z0-9\-]{2,}|\pL{2,})"
_IMAGE_NAME = re.compile(r"@\d(?:\.\d+)?x\.(?:png|jpe?g|gif|webp|svg)$", re.IGNORECASE)

_USERINFO = r"[a-zA-Z][a-zA-Z0-9+.\-]{1,20}://([^\s/?#\"'<>\\`]+)@"
_LONG_USER = 16

_IPV4 = r"\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,3})?"
_IPV6 = r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[0-9A-Za-z]{1,15})?(?:/\d{1,4})?"
_NOT_AN_ADDRESS = re.compile(
    r"(?:(?<![a-z])(?:v|ver|version|release|build|section|chapter|figure|table|step|firmware|rev)[ .:=]{0,2}"
    r"|(?<![a-z])(?:chrome|chromium|safari|firefox|edg|edge|opr|version|applewebkit)/)$",
    re.IGNORECASE,
)
_LONGEST_IPV6 = 45


def emails(subject: Subject) -> Iterator[Span]:
    if "@" not in subject.text:
        return
    for start, end in subject.spans(_EMAIL):
        found = subject.text[start:end]
        if not _IMAGE_NAME.search(found):
            yield Span(start + _opening(found), end, "email", 0.95)


def _opening(found: str) -> int:
    """How many quotes and dots stand before an address, not in it."""
    return len(found) - len(found.lstrip("'.")) if found[0] in "'." else 0


def url_credentials(subject: Subject) -> Iterator[Span]:
    if "://" not in subject.text:
        return
    for start, end in subject.spans(_USERINFO, group=1):
        user, _, password = subject.text[start:end].partition(":")
        if password or len(user) >= _LONG_USER:
            yield Span(start, end, "url_credentials", 0.95)


def ip_addresses(subject: Subject) -> Iterator[Span]:
    yield from _ipv4(subject)
    if subject.text.count(":") > 1:
        yield from _ipv6(subject)


def _ipv4(subject: Subject) -> Iterator[Span]:
    for start, end in subject.spans(_IPV4):
        address, _, prefix = subject.text[start:end].partition("/")
        if prefix and int(prefix) > 32:  # noqa: PLR2004 (bits of an address)
            end = start + len(address)  # noqa: PLW2901 (the slash belongs to something else)
        if not all(map(_is_octet, address.split("."))) or not subject.stands_alone(start, end):
            continue
        if not _NOT_AN_ADDRESS.search(subject.before(start, 16)):
            yield Span(start, end, "ip", 0.9)


def _is_octet(digits: str) -> bool:
    return int(digits) <= 255 and str(int(digits)) == digits  # noqa: PLR2004 (a byte)


def _ipv6(subject: Subject) -> Iterator[Span]:
    for start, end in subject.spans(_IPV6):
        bare = subject.text[start:end].partition("/")[0].partition("%")[0].rstrip(".")
        bare = bare[:-1] if bare.endswith(":") and not bare.endswith("::") else bare
        stop = end if subject.text[start + len(bare) : end][:1] in ("/", "%") else start + len(bare)
        if len(bare) <= _LONGEST_IPV6 and _is_ipv6(bare) and subject.stands_alone(start, stop):
            yield Span(start, stop, "ip", 0.9)


def _is_ipv6(text: str) -> bool:
    if not any(char.isdigit() for char in text):
        return False  # a::b is C++, dead::beef could be; an address without a digit hardly ever is
    from ipaddress import AddressValueError, IPv6Address  # noqa: PLC0415 (rarely needed)

    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
