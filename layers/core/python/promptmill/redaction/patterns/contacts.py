"""Find where people and machines can be reached: e-mail and network addresses, places, telephone numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptmill.redaction.patterns.folded_text import FoldedText
from promptmill.redaction.patterns.rules import Rule, make_rule
from promptmill.redaction.spans import Span

_LETTERS = r"A-Za-z\xaa\xb5\xba\xc0-\xd6\xd8-\xf6\xf8-\xff"
_LABEL = rf"[{_LETTERS}0-9](?:[{_LETTERS}0-9\-]*[{_LETTERS}0-9])?"
_EMAIL = (
    rf"(?:[{_LETTERS}0-9_.%+'\-]+|\xa7{{1,16}})(?:@|%40)(?:{_LABEL}\.)+(?:xn--[a-zA-Z0-9\-]{{2,}}|[{_LETTERS}]{{2,}})"
)
_NOBODY = re.compile(r"(?:git|svn|hg)@[\w.\-]+\Z|(?:no-?reply|do-?not-?reply|mailer-daemon)@", re.IGNORECASE)
"""The user of a repository's host, and addresses that nobody reads."""
_IMAGE_NAME = re.compile(r"@\d(?:\.\d+)?x\.(?:png|jpe?g|gif|webp|svg)$", re.IGNORECASE)

_IPV4 = r"\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,3})?"
_IPV6 = r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[0-9A-Za-z]{1,15})?(?:/\d{1,4})?"
_NOT_AN_ADDRESS = re.compile(
    r"(?:(?<![a-z])(?:v|ver|version|release|build|section|chapter|figure|table|step|firmware|rev)[ .:=]{0,2}"
    r"|(?<![a-z])(?:chrome|chromium|safari|firefox|edg|edge|opr|version|applewebkit)/)$",
    re.IGNORECASE,
)
_MAX_IPV6, _MAX_SLICE = 45, 5


def find_emails(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.find_spans(_EMAIL):
        found = folded.text[start:end]
        if not _IMAGE_NAME.search(found) and not _NOBODY.match(found):
            yield Span(start + _count_opening(found), end, "email", 0.95, "email")


_SPELLED = r"(?i)\b[a-z0-9][\w.+\-]*\s?[\[({<]\s?at\s?[\])}>]\s?[a-z0-9\-]+(?:(?:\s?[\[({<]\s?(?:dot|punkt|point)\s?[\])}>]\s?|\.)[a-z0-9\-]+)+"
"""An address written as ``bob (at) example (dot) org``."""


def _count_opening(found: str) -> int:
    """Return how many quotes and dots stand before an address, not in it."""
    return len(found) - len(found.lstrip("'.")) if found[0] in "'." else 0


def _find_ipv4(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.find_spans(_IPV4):
        address, _, prefix = folded.text[start:end].partition("/")
        if prefix and int(prefix) > 32:  # noqa: PLR2004 (bits of an address)
            end = start + len(address)  # noqa: PLW2901 (the slash belongs to something else)
        if not all(map(_is_octet, address.split("."))) or not folded.stands_alone(start, end):
            continue
        if folded.text_before(start, 1) == "+":
            continue  # a telephone number with dots
        if not _NOT_AN_ADDRESS.search(folded.text_before(start, 16)):
            yield Span(start, end, "ip", 0.9, "ipv4")


def _is_octet(digits: str) -> bool:
    return int(digits) <= 255 and str(int(digits)) == digits  # noqa: PLR2004 (a byte)


def _find_ipv6(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.find_spans(_IPV6):
        bare = folded.text[start:end].partition("/")[0].partition("%")[0].rstrip(".")
        bare = bare[:-1] if bare.endswith(":") and not bare.endswith("::") else bare
        stop = end if folded.text[start + len(bare) : end][:1] in ("/", "%") else start + len(bare)
        if folded.text_before(start, 1) == "[" and folded.text[stop : stop + 1] == "]" and len(bare) <= _MAX_SLICE:
            continue  # a slice of a list
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
    return len(found) > 1 and not _LONGER_HEX.match(folded.text, end) and not folded.text_before(start, 1).endswith(":")


_POINT = r"[-+]?\d{1,3}\.\d{3,}"
_COORDINATES = rf"{_POINT}\xb0? ?[NS]?[,;/ ] ?{_POINT}\xb0? ?[EWO]?"
_DEGREES = r"\d{1,3}\xb0 ?\d{1,2}['\xa7\xb4 ] ?[\d.,]*[\"'\xa7 ]{0,3}[NS][,; ]{1,2}\d{1,3}\xb0 ?\d{1,2}['\xa7\xb4 ] ?[\d.,]*[\"'\xa7 ]{0,3}[EWO]"
_NAMED_POINT = r"(?i)\b(?:lat(?:itude)?|lng|lon(?:g(?:itude)?)?)\b[\"']? ?[:=]? ?([-+]?\d{1,3}\.\d{2,})"
_NUMBERS = re.compile(r"[-+]?\d+\.\d+")
_PLACE = re.compile(
    r"(?:\b|_)(?:lat|lon|lng|long)(?:\b|_)|latitud|longitud|coord|\bgps|\bgeo|located|position|degree|\xb0",
    re.IGNORECASE,
)
_PRECISE = 4
_CELL_ENDS = (",", ";", "\t", "|", "[")
_LINE_OF_TABLE = re.compile(r"[^\n\d]{0,24}[-+]?\d{1,3}\.\d{3,}[,;\t ]{1,2}[-+]?\d{1,3}\.\d{3,}")
_NEAR, _FAR = 24, 120


def _is_point(folded: FoldedText, start: int, end: int) -> bool:
    """Return True for a latitude and a longitude, written to some metres or called by their names."""
    latitude, longitude = _NUMBERS.findall(folded.text[start:end])[:2]
    if abs(float(latitude)) > 90 or abs(float(longitude)) > 180 or not folded.stands_alone(start, end):  # noqa: PLR2004 (degrees)
        return False
    precise = all(len(number.partition(".")[2]) >= _PRECISE for number in (latitude, longitude))
    named = _PLACE.search(folded.text_before(start, 40) + folded.text[start:end])
    return named is not None or (
        precise
        and "," in folded.text[start:end]
        and not folded.text[end : end + 3].strip(" ").startswith(",")
        and folded.text_before(start, 2).strip(" ")[-1:] not in _CELL_ENDS
        and not _has_numbers_beside(folded.text, start, end)
    )


def _has_numbers_beside(text: str, start: int, end: int) -> bool:
    """Return True if the line above or below begins like a line of the same table."""
    below = text.find("\n", end, end + _NEAR)
    above = text.rfind("\n", max(0, start - _NEAR), start)
    before = text.rfind("\n", max(0, above - _FAR), above) + 1 if above > 0 else 0
    return bool(
        (below >= 0 and _LINE_OF_TABLE.match(text, below + 1)) or (above > 0 and _LINE_OF_TABLE.match(text, before))
    )


def _anything(*_: object) -> bool:
    return True


CONTACT_RULES = (
    Rule(r"(?:@|%40)[A-Za-z0-9\x80-\xff]", find_emails),
    make_rule("email_spelled", "email", _SPELLED, 0.7, _anything, gate=r"(?i)[\[({<]\s?at\s?[\])}>]"),
    Rule(_IPV4, _find_ipv4),
    Rule(r":[0-9A-Fa-f.]*:[0-9A-Fa-f.]*|::", _find_ipv6),
    make_rule("mac", "mac", _MAC, 0.9, _is_mac),
    make_rule("coordinates", "coordinates", _COORDINATES, 0.7, _is_point),
    make_rule("coordinates_dms", "coordinates", _DEGREES, 0.8, _anything),
    make_rule("coordinate_named", "coordinates", _NAMED_POINT, 0.7, _anything, group=1),
)


_CANDIDATE = r"(?:\+|\(\+?)?\d(?:[ ./()\-]{0,3}\d){5,36}"
_EXTENSION = re.compile(r"[ ,;]{0,2}(?:x|ext\.?|extension|#)[ .:]{0,2}\d{1,6}(?!\w)", re.IGNORECASE)

_NORTH_AMERICAN = re.compile(
    r"(?<!\d)(?:(?:\+|00)?1[ .\-]{0,2}|001[ .\-]?)?(?:\(\d{3}\) ?-?\d{3}[ .\-]\d{4}|\d{3}([.\-])\d{3}[.\-]\d{4}|[2-9]\d\d \d{3}[ \-]\d{4})"
)
_AREA_CODE_IN_BRACKETS = re.compile(r"\(0?\d{2,4}\)[ \-]?\d[\d \-]{4,}")
_TRUNK_ZERO = re.compile(r"0\d{1,4}(?:[ .\-/]\d{2,8}){1,4}")
_DATE = re.compile(
    r"(?:(?:19|20)\d\d([./\-]| ?[./\-] ?)[01]?\d\1[0-3]?\d|[0-3]?\d([./\-]| ?[./\-] ?)[0-3]?\d\2(?:19|20)?\d\d)(?![./\-]?\d)"
)
_YEARS = re.compile(r"(?:19|20)\d\d[ ./\-]+(?:19|20)?\d\d(?!\d)")
_SOCIAL_SECURITY = re.compile(r"\d{3}[ .\-]\d\d[ .\-]\d{4}|\d{5}-\d{4}")
_NOT_SEPARATED_LIKE_ONE = re.compile(r"[./()\-] ?[./\-]|\d / \d|\) ?\)|\d{1,3}(?:\.\d{3})+(?!\d)|^\d+\.\d+$|^0\.\d")

_CONTEXT_AFTER = re.compile(r"[ \-(]{1,2}(?:office|fax|home|mobile|cell|work|phone|landline)(?![a-z])", re.IGNORECASE)
_OTHER_NUMBER = re.compile(
    r"(?:(?<![a-z])(?:order|part|item|invoice|ticket|serial|tracking|model|version|isbn|sku|batch|case|reference|ref|policy"
    r"|account|acct|routing|license|licence|passport|id|token|sequence|code|lot|po|vin|doi|issn|imei)"
    r"(?: ?(?:no|nr|num|number|id|code)\.?)?[ :#=\-]{0,4}|[#$€£¥₹%_@]\s?)$",
    re.IGNORECASE,
)
_PATH_BEFORE = re.compile(r"[\w/][.\-/]|\d:")
_GOES_ON = re.compile(r"[\-/.]\d|[:/=@_][^\xa7]|\d.?")
_MIN_DIGITS, _MAX_DIGITS, _MAX_TRIES, _MAX_BLANKS = 7, 15, 4, 7
_GAP = re.compile(r"[^\n\d+(]{0,30}(?:\((?!\+?\d)[^()\n\d]{0,16}\)[^\n\d+(]{0,8})?")
_LABELLED = re.compile(_CANDIDATE)
_MAX_GAP = 56
_AROUND = 40
_FRACTION = re.compile(r"\d+\.\d{3,}|0\.\d+")


PHONE_GATE = r"\d(?:[ ./()\-]{0,3}\d){5}"


def find_phones(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.find_spans(_CANDIDATE):
        yield from _find_phones_in(folded, start, end)


def find_labelled_phone(folded: FoldedText, at: int, limit: int, *, least: int) -> tuple[int, int] | None:
    """Return the number that starts in the few characters behind ``at``, where a word for a telephone stands before it."""
    gap = _GAP.match(folded.text, at, min(limit, at + _MAX_GAP))
    match = _LABELLED.match(folded.text, gap.end()) if gap else None
    if match is None:
        return None
    start, end = match.span()
    start += _count_unclosed(match[0])
    if _is_labelled_phone(folded, start, end, least):
        return start, _extend(folded.text, end)
    end = _find_end_of_first(folded, start, end, least=least)
    return (start, _extend(folded.text, end)) if end else None


def _is_labelled_phone(folded: FoldedText, start: int, end: int, least: int) -> bool:
    run = folded.text[start:end]
    digits = sum(map(str.isdigit, run))
    plausible = least <= digits <= _MAX_DIGITS and not _FRACTION.fullmatch(run)
    return plausible and not _DATE.match(run) and not _YEARS.match(run) and _stands_free(folded, start, end)


def _find_phones_in(folded: FoldedText, start: int, end: int) -> Iterator[Span]:
    start = _skip_dates(folded.text, start, end)
    start += _count_unclosed(folded.text[start:end])
    run = folded.text[start:end]
    score = _rate(folded, start, end, run) if run and _stands_free(folded, start, end) else 0
    if score:
        yield Span(start, _extend(folded.text, end), "phone", score, "phone")
        return
    if sum(map(str.isdigit, run)) > _MAX_DIGITS and (cut := _find_end_of_first(folded, start, end)):
        yield Span(start, cut, "phone", 0.7, "phone")
        yield from _find_phones_in(folded, cut + 1, end)
        return
    for match in _NORTH_AMERICAN.finditer(run):
        other = _OTHER_NUMBER.search(folded.text_before(start + match.start(), 40))
        if not other and _stands_free(folded, start + match.start(), start + match.end()):
            yield Span(start + match.start(), _extend(folded.text, start + match.end()), "phone", 0.7, "phone_us")


def _find_end_of_first(folded: FoldedText, start: int, end: int, *, least: int = 0) -> int:
    """Return where the first of two numbers ends that only a blank separates; 0 if they are something else."""
    blank, tries = folded.text.rfind(" ", start, end), _MAX_TRIES
    while blank > start and tries:
        run = folded.text[start:blank]
        if run.count(" ") <= _MAX_BLANKS and sum(map(str.isdigit, run)) <= _MAX_DIGITS:
            if _is_labelled_phone(folded, start, blank, least) if least else _is_phone(folded, start, blank):
                return blank
            tries -= 1
        blank = folded.text.rfind(" ", start, blank)
    return 0


def _is_phone(folded: FoldedText, start: int, end: int) -> bool:
    return _stands_free(folded, start, end) and _rate(folded, start, end, folded.text[start:end]) > 0


def _count_unclosed(run: str) -> int:
    """Return 1 if the bracket before a number is not closed in it, as in ``(555-0100)``, else 0."""
    return int(run.startswith("(") and run.count("(") > run.count(")"))


def _skip_dates(text: str, start: int, end: int) -> int:
    match = _DATE.match(text, start, end)
    while match and text[match.end() : match.end() + 1] in (" ", ","):
        start = match.end() + 1
        match = _DATE.match(text, start, end)
    return end if match else start


def _stands_free(folded: FoldedText, start: int, end: int) -> bool:
    """Return True if [start, end) is not a piece of a longer word, number, identifier or path."""
    text = folded.text
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if before[-1:].isalnum() or before[-1:] in ("_", "+") or _PATH_BEFORE.fullmatch(before):
        return False
    if _GOES_ON.fullmatch(after):
        return False
    return not after[:1].isalpha() or bool(_EXTENSION.match(text, end))


_LOCAL_NUMBERS = (
    ("\u4e00", "\u9fff", re.compile(r"1[3-9]\d{9}|0\d{9,11}|0[5789]0\d{8}")),  # China, Japan
    ("\u3040", "\u30ff", re.compile(r"0[5789]0\d{8}|0\d{9}")),
    ("\uac00", "\ud7af", re.compile(r"01[016-9]\d{7,8}|02\d{7,8}|0[3-6]\d{8,9}|1[568]\d{6}")),
    ("\u0e00", "\u0e7f", re.compile(r"0[689]\d{8}|0[2-7]\d{7}")),
)
"""Scripts, and how numbers of the countries that write them look without separators."""
_ALONE = re.compile(r"1[3-9]\d{9}|0[5789]0\d{8}|01[016-9]\d{8}|0[689]\d{8}|0\d{11}")


def _rate_local(folded: FoldedText, start: int, end: int, run: str) -> float:
    """Rate a number by the script of the text around it, or by standing on a line of its own."""
    digits = re.sub(r"[ \-]", "", run)
    if folded.letters is not folded.text:
        around = folded.letters[max(0, start - _AROUND) : end + _AROUND]
        for first, last, shape in _LOCAL_NUMBERS:
            if shape.fullmatch(digits) and any(first <= char <= last for char in around):
                return 0.7
    return 0.5 if _ALONE.fullmatch(digits) and folded.fills_its_line(start, end) else 0


def _rate(folded: FoldedText, start: int, end: int, run: str) -> float:
    """Return how sure it is that the digits are a telephone number; 0 if they are something else."""
    digits = sum(map(str.isdigit, run))
    if digits > _MAX_DIGITS or _DATE.match(run) or _YEARS.match(run):
        return 0
    before = folded.text_before(start, 40)
    if _CONTEXT_AFTER.match(folded.text, end):
        return 0.85
    if digits < _MIN_DIGITS or _OTHER_NUMBER.search(before):
        return 0
    return _rate_shape(run, digits) or _rate_local(folded, start, end, run)


def _rate_shape(run: str, digits: int) -> float:
    international = run.startswith(("+", "(+")) or (run.startswith("00") and run[2:3] not in ("0", ""))
    if international and digits > 8 and not run.isdigit():  # noqa: PLR2004 (country code and a number)
        return 0.9
    if _NORTH_AMERICAN.fullmatch(run):
        return 0.8
    if _NOT_SEPARATED_LIKE_ONE.search(run) or _SOCIAL_SECURITY.fullmatch(run):
        return 0
    in_brackets = _AREA_CODE_IN_BRACKETS.fullmatch(run)
    return 0.7 if in_brackets or (_TRUNK_ZERO.fullmatch(run) and digits in range(9, 13)) else 0


def _extend(text: str, end: int) -> int:
    match = _EXTENSION.match(text, end)
    return match.end() if match else end
