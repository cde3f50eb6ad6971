"""Find the values that labels announce: behind a label, in the line below it, and in the column under it (tables.py).

A label and a plausible value are enough. Check digits decide only about numbers that no label announces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache

from promptmill.redaction.patterns.contacts import find_labelled_phone
from promptmill.redaction.patterns.folded_text import FoldedText, fold_text
from promptmill.redaction.patterns.labels import FoundLabel, Label, Shape, read_months
from promptmill.redaction.patterns.looks_like_secret import is_placeholder, is_reference
from promptmill.redaction.spans import Span

Place = tuple[int, int]

_MAX_REACH, _MAX_WORDS_BETWEEN, _MAX_LENGTH, _MAX_SIGHT = 72, 7, 30, 120
_SIGN_OF_NUMBER = re.compile(r"[\d*#]|[xX]{2}")
_PIECE = re.compile(r"[A-Za-z0-9*#][\w\-./*]*")
_BREAK = re.compile(r"[.!?;\n\0](?:\s|\Z)|[\n\0\]]|\)\s{0,3}values\b", re.IGNORECASE)
_MASKED = re.compile(r"(?:[xX*#]{2,}[\-. /]?){1,4}[A-Za-z0-9\-]{0,8}|[A-Z0-9]{0,4}X{3,}[A-Z0-9\-]{3,16}")
_A_DATE = re.compile(
    r"\d{4}[./\-]\d{1,2}[./\-]\d{1,2}(?:T[\d:.]+)?|\d{1,2}[./\-]\d{1,2}[./\-]\d{2,4}|\d{1,2}:\d\d(?::\d\d)?"
)
_GROUPED = re.compile(r"(?: [A-Z0-9]{2,6}(?![a-z])){1,8}")
_GROUPS = re.compile(
    r"(?:[A-Z]{1,3} \d{4,12}|[A-Z]{0,4}\d{1,12})(?:[ \-./]{1,2}(?:[A-Z]{0,3}\d{1,12}[A-Z]?|[A-Z]{1,2})(?![A-Za-z\d])){0,7}"
)
_AMOUNT_BEFORE = re.compile(r"[$€£¥₹]\s?$")
_NOT_A_NUMBER = re.compile(
    r"(?i)(?:19|20)\d\d|\d+(?:st|nd|rd|th|am|pm|px|kb|mb|gb|years?|days?|hours?|mins?|%)|v\d.*|[\d,]+\.\d\d|\d+\.\d+|\d{1,3}(?:[.,]\d{3})+"
)
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,80}>")
_KEY_SIGN = re.compile(r"[:=|>\t\xa7]|  |\.\.\.|^[\"'\s]{0,3}(?:is|was|are|es|ist|est|era|to)\b")
_KEY_WORDS = re.compile(r"\b(?:is|was|are|es|ist|est|era|to|value|string|str|varchar|text)\b", re.IGNORECASE)
_MAX_KEY = 48
_ALONE = re.compile(r"[ \t]{0,8}[:*_\"'`)\]#=]{0,4}[ \t]{0,8}\r?\n[ \t]{0,8}(?:\r?\n)?[ \t>*\"'`\-]{0,16}")
_MAX_BEFORE_LABEL = 24
_REST_OF_LINE = re.compile(r"[\"'`*_;,. \t\r]{0,8}(?:\n|\Z)")
_NEXT_OF_LIST = re.compile(r"[\"'`]?\s{0,2}(?:,|/|;|&|\bor\b|\band\b|\bund\b|\by\b|\be\b|\bet\b)\s{0,12}[\"'`]?")
_MAX_LIST = 200
_CONNECTING = frozenset(
    """
    a an and are as at attempt attempts belonging card code copy data detail details dated ending exposed for from
    field file found given has have her his holder id ids in info information is issued its linked licence license
    listed named nr no num number numbers of on or our over read reads recorded reference reg registered
    registration renewal returned s scan shown state tax the their this to under up was were which with xx your you
    value document valid new old stored account expired expires us uk and/or plate called equals matching
    de del la el es con der die das ist und lautet le du est n il di e da do
    """.split()  # noqa: SIM905 (a word a line would fill a page)
)
_ANOTHER_THING = frozenset(
    """
    balance status type count total amount limit created updated settings manager page team policy verification
    verified validation format field name length hash required missing invalid error expired flow service model
    """.split()  # noqa: SIM905 (as above)
)
"""Words behind a label that make it the name of something else, as in ``account balance``."""

_SHORT_DATE = r"\d{4}[./\-] ?\d{1,2}[./\-] ?\d{1,2}|\d{1,2}[./\-] ?\d{1,2}[./\-] ?\d{2,4}"
_EASTERN_DATE = r"(?:[^\W\d]{2} ?)?\d{1,4} ?[\u5e74\ub144] ?\d{1,2} ?[\u6708\uc6d4](?: ?\d{1,2} ?[\u65e5\uc77c]?)?"
_DAY, _JOIN = r"\d{1,2}(?:st|nd|rd|th|er|[\xba\xaa])?\.?", r"[ \-/](?:of |de |del |d'|\u0e1e\.?\u0e28\.? ?)?"
_GAP_OF_DATE = re.compile(
    r"(?:</?[A-Za-z][^<>\n]{0,48}>|[^\w\n<]|\xa7|[\u3040-\u9fff\uac00-\ud7af\u0e00-\u0e7f]|_){0,50}"
)
_WORD_BEFORE_DATE = re.compile(r"[^\W\d]{1,12}(?=[ :.])")
_MAX_WORDS_BEFORE_DATE = 3
_LEADER = re.compile(r"[ .\-_]{4,60}|\.(?= )")
_CARD = re.compile(r"\d(?:[ \-.]?\d){11,18}(?!\d)")
_IBAN = re.compile(r"[A-Za-z]{2}\d{2}(?:[A-Za-z0-9]{8,32}|(?:[ \-][A-Z0-9]{1,18}(?![a-z\d])){1,9})")
_DEGREES = re.compile(r"[-+]?\d{1,3}\.\d{3,}(?!\d|\.\d)")
_CODE = re.compile(r"\d{3,8}(?!\d|[.,]\d)")
_SECRET = re.compile(r"(?:[^\s\"'<>,;|&\\]|&(?!\w{1,24}=)){4,80}")
_COULD_BE_CHOSEN = re.compile(r"[A-Za-z\xc0-\xff].*[\d!@#$%^&*+?]|[\d!@#$%^&*+?].*[A-Za-z\xc0-\xff]|\d{6}")
_MIN_SECRET = 4
_COULD_BE_MEANT = (
    re.compile(r"(?=[^\d\s\"'<>]{0,12}\d[^\s\"'<>]{0,12}\d[^\s\"'<>]{0,12}\d)(?!\d{1,2}:\d\d)[\w\-./+()]{3,40}"),
    re.compile(r"[^\s\"'<>,;]{6,80}(?=[\"'<,;]|[ \t]*(?:\r?\n|\Z))"),
)
"""What could be a number, and what could be a password."""
_SCORES: dict[Shape, float] = {
    "degrees": 0.7,
    "number": 0.75,
    "phone": 0.85,
    "date": 0.8,
    "card": 0.8,
    "iban": 0.75,
    "secret": 0.7,
    "code": 0.6,
}
_RULE = "labelled"


def find_labelled_values(folded: FoldedText) -> Iterator[Span]:
    """Yield the value of each label that has one."""
    for found, limit in zip(folded.labels, _find_limits(folded), strict=True):
        if folded.text.startswith("></", found.end) or _is_in_slug(folded.text, found):
            continue  # an element that holds nothing, or words of a name
        if found.label.shape != "secret" and not _SIGN_OF_NUMBER.search(folded.text, found.end, found.end + _MAX_SIGHT):
            continue
        value = _find_below(folded, found) or _find_behind(folded, found, limit)
        while value is not None:
            yield make_labelled_span(found.label, *value)
            value = _find_next_of_list(folded, found.label, value[1])


def _is_in_slug(text: str, found: FoundLabel) -> bool:
    """Return True for ``settings-of-your-account-1549523130939``: one name with dashes in it."""
    return (
        text[found.end : found.end + 1] == "-"
        and text[max(0, found.start - 2) : found.start].strip("-").isalpha()
        and text[found.start - 1 : found.start] == "-"
    )


def find_doubts(folded: FoldedText) -> Iterator[Span]:
    """Yield what stands behind a label as the value of a key does and could be one, whether or not it was found."""
    for found, limit in zip(folded.labels, _find_limits(folded), strict=True):
        at = skip_key_signs(folded.text, found.end, limit)
        match = _COULD_BE_MEANT[found.label.shape == "secret"].match(folded.text, at) if at else None
        if match and not (is_placeholder(match[0]) or is_reference(match[0]) or _NOT_A_NUMBER.fullmatch(match[0])):
            yield Span(*match.span(), found.label.type, 0.0, "doubt")


def make_labelled_span(label: Label, start: int, end: int) -> Span:
    return Span(start, end, label.type, _SCORES[label.shape], f"{_RULE}_{label.type}")


def is_labelled(span: Span) -> bool:
    return span.rule.startswith(_RULE)


def _find_limits(folded: FoldedText) -> list[int]:
    """Return where the next label starts behind each one: what stands there belongs to it, unless it says the same."""
    limits, limit, following = [], len(folded.text), None
    for found in reversed(folded.labels):
        if following is not None and following.label.type != found.label.type:
            limit = following.start
        limits.append(limit)
        following = found
    return limits[::-1]


def find_plausible_value(folded: FoldedText, label: Label, start: int, end: int) -> Place | None:
    """Return the value if [start, end), a cell or a line, is one that the label can mean, else None."""
    value = _SHAPES[label.shape](folded, label, start)
    return value if value is not None and value[1] == end else None


def _find_below(folded: FoldedText, found: FoundLabel) -> Place | None:
    """Return the value in the line below a label that has its line for itself."""
    text = folded.text
    match = _ALONE.match(text, found.end)
    if match is None:
        return None
    line = text.rfind("\n", 0, found.start) + 1
    before = text[line : found.start]
    if found.start - line > _MAX_BEFORE_LABEL or any(map(str.isdigit, before)) or "," in before:
        return None
    value = _SHAPES[found.label.shape](folded, found.label, match.end())
    return value if value is not None and _REST_OF_LINE.match(text, value[1]) else None


def _find_next_of_list(folded: FoldedText, label: Label, end: int) -> Place | None:
    """Return the next value of a list, as in ``phones: ["555-0100", "555-0101"]``."""
    if label.shape in ("secret", "code", "date"):
        return None
    match = _NEXT_OF_LIST.match(folded.text, end)
    return _SHAPES[label.shape](folded, label, match.end()) if match else None


def _find_behind(folded: FoldedText, found: FoundLabel, limit: int) -> Place | None:
    shape = found.label.shape
    if shape == "phone":
        return find_labelled_phone(folded, found.end, limit, least=found.label.digits)
    if shape == "date":
        return _find_date_behind(folded, found, limit)
    if found.label.strict or shape in ("secret", "code"):
        return _find_under_key(folded, found, limit)
    return _find_in_sentence(folded, found, limit)


def _find_date_behind(folded: FoldedText, found: FoundLabel, limit: int) -> Place | None:
    """Return the date behind a label and at most a few short words."""
    at, end = found.end, min(limit, found.end + _MAX_REACH)
    for _ in range(_MAX_WORDS_BEFORE_DATE + 1):
        gap = _GAP_OF_DATE.match(folded.letters, at, end)
        at = gap.end() if gap else at
        if place := _find_date(folded, found.label, at):
            return place
        word = _WORD_BEFORE_DATE.match(folded.letters, at, end)
        if word is None:
            return None
        at = word.end()
    return None


def _find_under_key(folded: FoldedText, found: FoundLabel, limit: int) -> Place | None:
    """Return the value if only signs stand between it and the label, as in a document, a form or a configuration."""
    at = skip_key_signs(folded.text, found.end, limit)
    return _SHAPES[found.label.shape](folded, found.label, at) if at else None


def skip_key_signs(text: str, at: int, limit: int) -> int:
    """Return where the value of a key starts, 0 if something else than the signs between a key and a value follows."""
    end = min(limit, at + _MAX_KEY)
    match = _KEY_GAP.match(text, at, end)
    if match is None or not match[0] or "\n" in match[0]:
        return 0
    return match.end() if _KEY_SIGN.search(match[0]) else 0


_KEY_GAP = re.compile(
    r"(?:</?[A-Za-z][^<>\n]{0,40}>|[ \t]{2,48}|[^\w\n<$#,;]|\xa7|(?<=[\s\"'])(?:is|was|are|es|ist|est|era|to)(?=[\s:\"'])){1,16}"
)


def _find_in_sentence(folded: FoldedText, found: FoundLabel, limit: int) -> Place | None:
    """Return the first number behind a label, in the same sentence, with only small words between, or None."""
    text, words = folded.text, 0
    leader = _LEADER.match(text, found.end)
    done = leader.end() if leader else found.end
    for piece in _PIECE.finditer(text, done, min(limit, found.end + _MAX_REACH)):
        if piece.start() < done:
            continue
        if _BREAK.search(text, done, piece.start()) or words > _MAX_WORDS_BETWEEN:
            return None
        tag = _TAG.match(text, piece.start() - 1) or _TAG.match(text, piece.start() - 2)
        if tag:
            done = tag.end()
            continue
        value = _SHAPES[found.label.shape](folded, found.label, piece.start())
        if value is not None:
            return value if _is_near(text, found.end, value[0], words) else None
        if words == 0 and any(map(str.isdigit, piece[0])) and skip_key_signs(text, found.end, limit) == piece.start():
            return None  # this is the value, and it is none that the label could mean
        word = piece[0].rstrip("./-_")
        if word.lower() in _ANOTHER_THING and words == 0:
            return None
        if word.lower() not in _CONNECTING and not word[:1].isupper() and not word.isupper():
            words += 2
        words, done = words + 1, piece.end()
    return None


def _is_near(text: str, at: int, start: int, words: int) -> bool:
    """Return False for an amount of money, and for ``12 345`` that is only counted, far behind a label."""
    return not _AMOUNT_BEFORE.search(text[max(0, start - 2) : start]) and (
        words < _MAX_WORDS_BETWEEN or start - at < _MAX_KEY
    )


def _find_number(folded: FoldedText, label: Label, at: int) -> Place | None:
    text = folded.text
    piece = _PIECE.match(text, at)
    if piece is None:
        return None
    value = piece[0].rstrip("./-_")
    if _is_number(value, label):
        return at, _extend_by_groups(text, at + len(value), value)
    groups = _GROUPS.match(text, at, at + 40)
    if groups is None or groups.end() < piece.end() - 1:
        return None
    whole = groups[0]
    if len(whole) < label.length or _count_digits(whole) < label.digits:
        return None
    if _A_DATE.match(whole) or _NOT_A_NUMBER.fullmatch(whole):
        return None
    return at, groups.end()


def _is_number(piece: str, label: Label) -> bool:
    if len(piece) > _MAX_LENGTH:
        return False
    if _MASKED.fullmatch(piece) and len(piece) >= 6:  # noqa: PLR2004 (XX-XX12)
        return True
    return (
        _count_digits(piece) >= label.digits
        and len(piece) >= label.length
        and "/" not in piece.strip("/")
        and not _NOT_A_NUMBER.fullmatch(piece)
        and not _A_DATE.fullmatch(piece)
    )


def _count_digits(text: str) -> int:
    return sum(map(str.isdigit, text))


def _extend_by_groups(text: str, end: int, value: str) -> int:
    """Return the end of a number with its further groups, as in ``12-34-56 1234 5678``."""
    groups = _GROUPED.match(text, end, end + 40) if value.isupper() or value.isdigit() else None
    if groups is None or not any(map(str.isdigit, groups[0])):
        return end
    kept = groups[0]
    while kept and not any(map(str.isdigit, kept.rsplit(" ", 1)[-1])):
        kept = kept.rpartition(" ")[0]
    return end + len(kept)


def _find_date(folded: FoldedText, _: Label, at: int) -> Place | None:
    match = _date_pattern().match(folded.letters, at)
    return match.span() if match else None


@cache
def _date_pattern() -> re.Pattern[str]:
    months = "|".join(
        sorted({re.escape(fold_text(month)) for month in read_months()}, key=lambda name: (-len(name), name))
    )
    month = rf"(?:{months})[^\s\d,\-/]{{0,12}}"
    return re.compile(
        rf"(?:{_SHORT_DATE}|{_EASTERN_DATE}|{_DAY}{_JOIN}{month},?{_JOIN}\d{{2,4}}|{month} {_DAY},? \d{{2,4}}"
        r"|(?:19|20)\d{6}|(?:19|20)\d\d|(?:0?[1-9]|1[0-2])/\d{4})(?!\d)",
        re.IGNORECASE,
    )


def _find_card(folded: FoldedText, _: Label, at: int) -> Place | None:
    match = _CARD.match(folded.text, at)
    return match.span() if match and folded.stands_alone(*match.span()) else None


def _find_iban(folded: FoldedText, _: Label, at: int) -> Place | None:
    match = _IBAN.match(folded.text, at)
    return match.span() if match else None


def _find_code(folded: FoldedText, _: Label, at: int) -> Place | None:
    match = _CODE.match(folded.text, at)
    return match.span() if match and folded.stands_alone(*match.span()) else None


def _find_phone(folded: FoldedText, label: Label, at: int) -> Place | None:
    found = find_labelled_phone(folded, at, len(folded.text), least=label.digits)
    return found if found and found[0] == at else None


def _find_secret(folded: FoldedText, _: Label, at: int) -> Place | None:
    match = _SECRET.match(folded.text, at)
    if match is None:
        return None
    value = match[0].rstrip(".:!?)]}*_`") or match[0]
    value = match[0] if match[0].endswith("!") else value
    if not _COULD_BE_CHOSEN.search(value) or len(value) < _MIN_SECRET or "==" in value:
        return None
    if is_placeholder(value) or is_reference(value):
        return None
    return at, at + len(value)


def _find_degrees(folded: FoldedText, _: Label, at: int) -> Place | None:
    match = _DEGREES.match(folded.text, at - (folded.text[at - 1 : at] in ("-", "+")))
    return match.span() if match else None


_SHAPES: dict[Shape, Callable[[FoldedText, Label, int], Place | None]] = {
    "number": _find_number,
    "phone": _find_phone,
    "date": _find_date,
    "card": _find_card,
    "degrees": _find_degrees,
    "iban": _find_iban,
    "secret": _find_secret,
    "code": _find_code,
}
