"""E-mail addresses and the addresses of machines."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptmill.redaction.patterns.folded_text import FoldedText
from promptmill.redaction.patterns.rules import Rule, matching
from promptmill.redaction.spans import Span

_LETTERS = r"A-Za-z\xaa\xb5\xba\xc0-\xd6\xd8-\xf6\xf8-\xff"
_LABEL = rf"[{_LETTERS}0-9](?:[{_LETTERS}0-9\-]*[{_LETTERS}0-9])?"
_EMAIL = rf"[{_LETTERS}0-9_.%+'\-]+(?:@|%40)(?:{_LABEL}\.)+(?:xn--[a-zA-Z0-9\-]{{2,}}|[{_LETTERS}]{{2,}})"
_IMAGE_NAME = re.compile(r"@\d(?:\.\d+)?x\.(?:png|jpe?g|gif|webp|svg)$", re.IGNORECASE)

_IPV4 = r"\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,3})?"
_IPV6 = r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[0-9A-Za-z]{1,15})?(?:/\d{1,4})?"
_NOT_AN_ADDRESS = re.compile(
    r"(?:(?<![a-z])(?:v|ver|version|release|build|section|chapter|figure|table|step|firmware|rev)[ .:=]{0,2}"
    r"|(?<![a-z])(?:chrome|chromium|safari|firefox|edg|edge|opr|version|applewebkit)/)$",
    re.IGNORECASE,
)
_MAX_IPV6 = 45


def emails(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.spans(_EMAIL):
        found = folded.text[start:end]
        if not _IMAGE_NAME.search(found):
            yield Span(start + _opening(found), end, "email", 0.95, "email")


_SPELLED = r"(?i)\b[a-z0-9][\w.+\-]*\s?[\[({<]\s?at\s?[\])}>]\s?[a-z0-9\-]+(?:(?:\s?[\[({<]\s?(?:dot|punkt|point)\s?[\])}>]\s?|\.)[a-z0-9\-]+)+"
"""``bob (at) example (dot) org``."""


def _opening(found: str) -> int:
    """How many quotes and dots stand before an address, not in it."""
    return len(found) - len(found.lstrip("'.")) if found[0] in "'." else 0


def _ipv4(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.spans(_IPV4):
        address, _, prefix = folded.text[start:end].partition("/")
        if prefix and int(prefix) > 32:  # noqa: PLR2004 (bits of an address)
            end = start + len(address)  # noqa: PLW2901 (the slash belongs to something else)
        if not all(map(_is_octet, address.split("."))) or not folded.stands_alone(start, end):
            continue
        if folded.before(start, 1) == "+":
            continue  # a telephone number with dots
        if not _NOT_AN_ADDRESS.search(folded.before(start, 16)):
            yield Span(start, end, "ip", 0.9, "ipv4")


def _is_octet(digits: str) -> bool:
    return int(digits) <= 255 and str(int(digits)) == digits  # noqa: PLR2004 (a byte)


def _ipv6(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.spans(_IPV6):
        bare = folded.text[start:end].partition("/")[0].partition("%")[0].rstrip(".")
        bare = bare[:-1] if bare.endswith(":") and not bare.endswith("::") else bare
        stop = end if folded.text[start + len(bare) : end][:1] in ("/", "%") else start + len(bare)
        if len(bare) <= _MAX_IPV6 and _is_ipv6(bare) and folded.stands_alone(start, stop):
            yield Span(start, stop, "ip", 0.9, "ipv6")


def _is_ipv6(text: str) -> bool:
    if not any(char.isdigit() for char in text):
        return False  # a::b is C++, dead::beef could be; an address without a digit hardly ever is
    from ipaddress import AddressValueError, IPv6Address  # noqa: PLC0415 (rarely needed)

    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


_MAC = r"\b(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}\b|\b(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}\b|\b(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}\b"
_LONGER_HEX = re.compile(r"[:.\-][0-9A-Fa-f]{2}")


def _is_mac(folded: FoldedText, start: int, end: int) -> bool:
    found = set(folded.text[start:end].upper()) - set(":.-")
    return len(found) > 1 and not _LONGER_HEX.match(folded.text, end) and not folded.before(start, 1).endswith(":")


_POINT = r"[-+]?\d{1,3}\.\d{3,}"
_COORDINATES = rf"{_POINT}\xb0? ?[NS]?[,;/ ] ?{_POINT}\xb0? ?[EWO]?"
_DEGREES = r"\d{1,3}\xb0 ?\d{1,2}['\xa7\xb4 ] ?[\d.,]*[\"'\xa7 ]{0,3}[NS][,; ]{1,2}\d{1,3}\xb0 ?\d{1,2}['\xa7\xb4 ] ?[\d.,]*[\"'\xa7 ]{0,3}[EWO]"
_NAMED_POINT = r"(?i)\b(?:lat(?:itude)?|lng|lon(?:g(?:itude)?)?)\b[\"']? ?[:=]? ?([-+]?\d{1,3}\.\d{2,})"
_NUMBERS = re.compile(r"[-+]?\d+\.\d+")
_PLACE = re.compile(r"lat|lon|lng|coord|gps|geo|located|position|degree|\xb0", re.IGNORECASE)
_PRECISE = 4


def _is_point(folded: FoldedText, start: int, end: int) -> bool:
    """A latitude and a longitude, written to some metres or called by their names."""
    latitude, longitude = _NUMBERS.findall(folded.text[start:end])[:2]
    if abs(float(latitude)) > 90 or abs(float(longitude)) > 180 or not folded.stands_alone(start, end):  # noqa: PLR2004 (degrees)
        return False
    precise = all(len(number.partition(".")[2]) >= _PRECISE for number in (latitude, longitude))
    named = _PLACE.search(folded.before(start, 40) + folded.text[start:end])
    return named is not None or (
        precise and "," in folded.text[start:end] and not folded.text[end : end + 3].strip(" ").startswith(",")
    )


def _anything(*_: object) -> bool:
    return True


CONTACT_RULES = (
    Rule(r"(?:@|%40)[A-Za-z0-9\x80-\xff]", emails),
    matching("email_spelled", "email", _SPELLED, 0.7, _anything, gate=r"(?i)[\[({<]\s?at\s?[\])}>]"),
    Rule(_IPV4, _ipv4),
    Rule(r":[0-9A-Fa-f.]*:[0-9A-Fa-f.]*|::", _ipv6),
    matching("mac", "mac", _MAC, 0.9, _is_mac),
    matching("coordinates", "coordinates", _COORDINATES, 0.7, _is_point),
    matching("coordinates_dms", "coordinates", _DEGREES, 0.8, _anything),
    matching("coordinate_named", "coordinates", _NAMED_POINT, 0.7, _anything, group=1),
)
