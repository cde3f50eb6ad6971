"""Find national, tax and health insurance numbers by their shape, check digits and the words beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from promptmill.redaction.patterns.folded_text import FoldedText, is_among_numbers, is_only_a_number, make_span
from promptmill.redaction.patterns.identity_kinds import MIXED, NUMBER_IDS, SHAPES, WITH_SEPARATORS, IdentityKind
from promptmill.redaction.patterns.rules import Rule
from promptmill.redaction.spans import Span

_NUMBER = r"\d(?:[ .\-/]?\d){7,17}"
_MIXED_ID = r"(?:[A-Za-z]{1,6}\d|\d+(?:-\d+)*-?[A-Za-z])[A-Za-z0-9]*(?:-[A-Za-z0-9]+)*"
_MIXED_GATE = (
    r"\b(?:[A-Za-z]{1,6}\d[A-Za-z0-9\-]{3}|\d[A-Za-z][A-Za-z0-9\-]{6}|\d[0-9\-]{5}[0-9\-]*[A-Za-z]|\d\d[A-Za-z]{5}\d)"
)
_SHAPE = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "A" * 52 + "9" * 10, "- ")
_LAYOUT = str.maketrans("0123456789", "9999999999")
_SEPARATORS = re.compile(r"[ .\-/()+]")
_MIN_TOKEN, _MAX_TOKEN, _WINDOW, _WINDOW_AFTER = 7, 24, 48, 24
_JOINED_BEFORE = re.compile(r"\w[.\-]")
_JOINED_AFTER = re.compile(r"[-/:@]\w|\.\d|=")
_OTHER_NUMBER = re.compile(
    r"(?:\b(?:order|part|item|invoice|ticket|serial|tracking|model|version|isbn|sku|batch|case|ref(?:erence)?|lot|po|doi"
    r"|issn|imei|timestamp|epoch|revision|commit|build|price|amount|total|page|chapter|section|size|bytes|port|pid|no such)"
    r"(?: ?(?:no|nr|num|number|id|code)\.?)?[ :#=\-]{0,4}|[#$€£¥₹%_@.,/\\=&?~+]\s?)$",
    re.IGNORECASE,
)
_EPOCH = re.compile(r"1[0-9]\d{8}(?:\d{3}){0,3}")
"""Seconds, milliseconds and so on since 1970, in this half of the century."""
_SCORES = {"word": 0.85, "strong": 0.65, "alone": 0.5}


_SSN = r"\d{3}[ .\-]\d{2}[ .\-]\d{4}"
_SSN_PLAIN = r"(?i)(?:ssn|social security|\btin\b|\bitin\b)[^\d\n]{0,25}(\d{9})"


def find_social_security_numbers(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.find_spans(_SSN):
        found = folded.text[start:end]
        if (
            found[3] == found[6]
            and _is_issued(found[:3], found[4:6], found[7:])
            and _stands_outside_numbers(folded, start, end)
        ):
            yield Span(start, end, "us_ssn", 0.9, "ssn_us")
    for start, end in folded.find_spans(_SSN_PLAIN, group=1):
        found = folded.text[start:end]
        if folded.stands_alone(start, end) and _is_issued(found[:3], found[3:5], found[5:]):
            yield Span(start, end, "us_ssn", 0.8, "ssn_us_named")


def _is_issued(area: str, group: str, serial: str) -> bool:
    return area not in ("000", "666") and group != "00" and serial != "0000"


def _stands_outside_numbers(folded: FoldedText, start: int, end: int) -> bool:
    before, after = folded.text_before(start, 2), folded.text[end : end + 2]
    longer = re.fullmatch(r"\d[.\-/]", before) or re.fullmatch(r"[.\-/]\d", after)
    return longer is None and folded.stands_alone(start, end)


def _find_numbers(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.find_spans(_NUMBER):
        if not _is_part_of_more(folded, start, end):
            yield from _judge_number(folded, start, end) or _find_pieces(folded, start, end)


def _find_pieces(folded: FoldedText, start: int, end: int) -> Iterator[Span]:
    """Find each of several numbers that only blanks separate."""
    run = folded.text[start:end]
    if " " in run:
        for piece in re.finditer(r"[^ ]{8,}", run):
            yield from _judge_number(folded, start + piece.start(), start + piece.end())


def _judge_number(folded: FoldedText, start: int, end: int) -> list[Span]:
    run = folded.text[start:end]
    if is_only_a_number(folded, start, end) or (run.isdigit() and is_among_numbers(folded, start, end)):
        return []
    digits = _SEPARATORS.sub("", run)
    kinds = NUMBER_IDS.get(len(digits), ())
    layout = run.translate(_LAYOUT)
    return list(_pick_surest(_judge_kinds(folded, start, end, digits, layout, kinds)))


def _find_mixed_numbers(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.find_spans(_MIXED_ID):
        if not _MIN_TOKEN <= end - start <= _MAX_TOKEN:
            continue
        token = folded.text[start:end]
        shape = token.translate(_SHAPE)
        if "A" not in shape or len(shape) < _MIN_TOKEN or _is_part_of_more(folded, start, end):
            continue
        plain = token.replace("-", "").upper()
        kinds = (*SHAPES.get(shape, ()), *(kind for pattern, kind in MIXED if pattern.fullmatch(plain)))
        if kinds:
            yield from _pick_surest(_judge_kinds(folded, start, end, plain, "", kinds))


def _judge_kinds(
    folded: FoldedText, start: int, end: int, plain: str, layout: str, kinds: Iterable[IdentityKind]
) -> Iterator[Span]:
    """Yield a span for each kind that the number can be."""
    for kind in kinds:
        # Check digits first: the words beside a number take longer to look for.
        if not kind.valid(plain):
            continue
        score = _rate(folded, start, end, layout, kind)
        if score:
            yield make_span(folded, start, end, kind.type, score, kind.name)


def _rate(folded: FoldedText, start: int, end: int, layout: str, kind: IdentityKind) -> float:
    if _has_word(folded, start, end, kind.words):
        return _SCORES["word"]
    if kind.proof == "context" or (layout and _EPOCH.fullmatch(folded.text, start, end)):
        return 0
    if layout and layout not in kind.layouts and not layout.isdigit():
        return 0
    if folded.fills_its_line(start, end):
        return _SCORES["alone"]
    if layout not in kind.layouts and (kind.proof == "check" or kind.layouts):
        return 0
    return 0 if _OTHER_NUMBER.search(folded.text_before(start, 24)) else _SCORES["strong"]


def _has_word(folded: FoldedText, start: int, end: int, words: str) -> bool:
    """Return True if one of ``words`` stands before [start, end), or shortly behind it."""
    expression = _compile_words(words)
    before, after = folded.text_before(start, _WINDOW), folded.text[end : end + _WINDOW_AFTER]
    return expression.search(before) is not None or expression.search(after.partition("\n")[0]) is not None


@cache
def _compile_words(words: str) -> re.Pattern[str]:
    return re.compile(words, re.IGNORECASE)


def _pick_surest(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield the surest of several readings of one number."""
    best = max(spans, key=lambda span: span.score, default=None)
    if best is not None:
        yield best


def _is_part_of_more(folded: FoldedText, start: int, end: int) -> bool:
    """Return True if [start, end) is a piece of a longer word, number, path or code."""
    before, after = folded.text_before(start, 2), folded.text[end : end + 2]
    if not folded.stands_alone(start, end) or before[-1:] in ("/", "\\", "+", "=", "$", ")"):
        return True
    return bool(_JOINED_BEFORE.fullmatch(before) or _JOINED_AFTER.match(after))


def _make_separated_rule(pattern: str, kind: IdentityKind) -> Rule:
    def find(folded: FoldedText) -> Iterator[Span]:
        for start, end in folded.find_spans(pattern):
            plain = _SEPARATORS.sub("", folded.text[start:end]).upper()
            plain = plain if kind.name != "hetu_fi" else folded.text[start:end].upper()
            if not _is_part_of_more(folded, start, end):
                yield from _judge_kinds(folded, start, end, plain, "", (kind,))

    return Rule(pattern, find)


IDENTITY_RULES = (
    Rule(rf"{_SSN}|{_SSN_PLAIN}", find_social_security_numbers),
    Rule(r"\d(?:[ .\-/]?\d){7}", _find_numbers),
    Rule(_MIXED_GATE, _find_mixed_numbers),
    *(_make_separated_rule(pattern, kind) for pattern, kind in WITH_SEPARATORS),
)
