"""Telephone numbers: by shape where the shape is a telephone's, by the words beside them where it is not."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptmill.redaction.patterns.folded_text import FoldedText
from promptmill.redaction.spans import Span

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
_SOCIAL_SECURITY = re.compile(r"\d{3}[ .\-]\d\d[ .\-]\d{4}")
_NOT_SEPARATED_LIKE_ONE = re.compile(r"[./()\-] ?[./\-]|\d / \d|\) ?\)|\d{1,3}(?:\.\d{3})+(?!\d)|^\d+\.\d+$|^0\.\d")

_CONTEXT = re.compile(
    r"(?:phone|mobile|cellular|(?<![a-z])cell|(?<![a-z])(?:tel|tfn?o?|tlfn?|ph|mob|gsm|natel|pu[hc]|fono|fone|t[eé]l)(?![a-z])|telefon|tel[eé]fono|t[eé]l[eé]phone|handy|(?<![a-z])fax"
    r"|(?<![a-z])call(?:ed|ing|s)?(?![a-z])|whats ?app|(?<![a-z])sms|(?<![a-z])dial|hotline|answering|"
    r"(?<![a-z])(?:text|reach|ring)(?:ed)? (?:me|us|him|her|them|you)|(?<![a-z])desk|messages? (?:to|on)|contact (?:no|number)"
    r"|電話|电话|هاتف|тел)[^\n\d]{0,30}$",
    re.IGNORECASE,
)
_CONTEXT_AFTER = re.compile(r"[ \-(]{1,2}(?:office|fax|home|mobile|cell|work|phone|landline)(?![a-z])", re.IGNORECASE)
_OTHER_NUMBER = re.compile(
    r"(?:(?<![a-z])(?:order|part|item|invoice|ticket|serial|tracking|model|version|isbn|sku|batch|case|reference|ref|policy"
    r"|account|acct|routing|license|licence|passport|id|token|sequence|code|lot|po|vin|doi|issn|imei)"
    r"(?: ?(?:no|nr|num|number|id|code)\.?)?[ :#=\-]{0,4}|[#$€£¥₹%_@]\s?)$",
    re.IGNORECASE,
)
_PATH_BEFORE = re.compile(r"[\w/][.\-/]")
_GOES_ON = re.compile(r"[\-/.]\d|[:/=@_].|\d.?")
_FEWEST_DIGITS, _MAX_DIGITS, _MAX_TRIES, _MAX_BLANKS = 7, 15, 4, 7


PHONE_GATE = r"\d(?:[ ./()\-]{0,3}\d){5}"


def phones(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.spans(_CANDIDATE):
        yield from _phones_in(folded, start, end)


def _phones_in(folded: FoldedText, start: int, end: int) -> Iterator[Span]:
    start = _after_dates(folded.text, start, end)
    start += _unclosed(folded.text[start:end])
    run = folded.text[start:end]
    score = _score(folded, start, end, run) if run and _free(folded, start, end) else 0
    if score:
        yield Span(start, _with_extension(folded.text, end), "phone", score, "phone")
        return
    if sum(map(str.isdigit, run)) > _MAX_DIGITS and (cut := _end_of_first(folded, start, end)):
        yield Span(start, cut, "phone", 0.7, "phone")
        yield from _phones_in(folded, cut + 1, end)
        return
    for match in _NORTH_AMERICAN.finditer(run):
        other = _OTHER_NUMBER.search(folded.before(start + match.start(), 40))
        if not other and _free(folded, start + match.start(), start + match.end()):
            yield Span(
                start + match.start(), _with_extension(folded.text, start + match.end()), "phone", 0.7, "phone_us"
            )


def _end_of_first(folded: FoldedText, start: int, end: int) -> int:
    """Where the first of two numbers ends that only a blank parts; 0 if they are something else."""
    blank, tries = folded.text.rfind(" ", start, end), _MAX_TRIES
    while blank > start and tries:
        run = folded.text[start:blank]
        if run.count(" ") <= _MAX_BLANKS and sum(map(str.isdigit, run)) <= _MAX_DIGITS:
            if _free(folded, start, blank) and _score(folded, start, blank, run):
                return blank
            tries -= 1
        blank = folded.text.rfind(" ", start, blank)
    return 0


def _unclosed(run: str) -> int:
    """1 if the bracket before a number is not closed in it: ``(555-0100)``."""
    return int(run.startswith("(") and run.count("(") > run.count(")"))


def _after_dates(text: str, start: int, end: int) -> int:
    match = _DATE.match(text, start, end)
    while match and text[match.end() : match.end() + 1] in (" ", ","):
        start = match.end() + 1
        match = _DATE.match(text, start, end)
    return end if match else start


def _free(folded: FoldedText, start: int, end: int) -> bool:
    """Not a piece of a longer word, number, identifier or path."""
    text = folded.text
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if before[-1:].isalnum() or before[-1:] in ("_", "+") or _PATH_BEFORE.fullmatch(before):
        return False
    if _GOES_ON.fullmatch(after):
        return False
    return not after[:1].isalpha() or bool(_EXTENSION.match(text, end))


def _score(folded: FoldedText, start: int, end: int, run: str) -> float:
    """0 where the digits are something else."""
    digits = sum(map(str.isdigit, run))
    if digits > _MAX_DIGITS or _DATE.match(run) or _YEARS.match(run):
        return 0
    before = folded.before(start, 40)
    if _CONTEXT.search(before) or _CONTEXT_AFTER.match(folded.text, end):
        return 0.85
    if digits < _FEWEST_DIGITS or _OTHER_NUMBER.search(before):
        return 0
    return _score_of_shape(run, digits)


def _score_of_shape(run: str, digits: int) -> float:
    international = run.startswith(("+", "(+")) or (run.startswith("00") and run[2:3] not in ("0", ""))
    if international and digits > 8 and not run.isdigit():  # noqa: PLR2004 (country code and a number)
        return 0.9
    if _NORTH_AMERICAN.fullmatch(run):
        return 0.8
    if _NOT_SEPARATED_LIKE_ONE.search(run) or _SOCIAL_SECURITY.fullmatch(run):
        return 0
    in_brackets = _AREA_CODE_IN_BRACKETS.fullmatch(run)
    return 0.7 if in_brackets or (_TRUNK_ZERO.fullmatch(run) and digits in range(9, 13)) else 0


def _with_extension(text: str, end: int) -> int:
    match = _EXTENSION.match(text, end)
    return match.end() if match else end
