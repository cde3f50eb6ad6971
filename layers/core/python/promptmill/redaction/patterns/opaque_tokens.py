"""Tokens of services that nobody here has heard of: a short name, a sign, and what nobody could read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptmill.redaction.patterns.folded_text import FoldedText
from promptmill.redaction.patterns.looks_like_secret import is_placeholder, unreadable
from promptmill.redaction.patterns.rules import Rule
from promptmill.redaction.spans import Span

_PREFIXED = r"\b[a-z][a-z0-9]{0,11}[_\-](?:[a-z0-9]{1,9}[_\-]){0,3}[A-Za-z0-9]{20}[A-Za-z0-9_\-]*"
_WITH_UUID = r"\b[a-z][a-z0-9]{1,11}[_\-](?:[a-z0-9]{1,9}[_\-]){0,2}[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
_BODY = re.compile(r"[A-Za-z0-9]{20,}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_HEX_OR_UUID = re.compile(r"[0-9a-f\-]+|[0-9A-F]+")
_SIGNS = re.compile(r"[_\-]")
_NAMES_A_SECRET = re.compile(
    r"(?:.*(?:sk|key|token|secret|pat)|pk|rk|ak|tk|live|prod|test|sandbox|api|auth|access|oauth|pwd|cred|refresh|svc)\d?"
)
_NAMES_A_THING = frozenset(
    """
    acct addr app asset asst batch blob block build bundle call card cert ch chatcmpl checksum chunk cmpl commit container css
    cus digest doc evt fc file fingerprint font ftjob gen hash id image img in index item job layer main md5 modelcmpl module
    msg node obj order org page pi pm pod price prod product public ref release req request resp rev rs run sess session seti
    sg sha sha1 sha256 sha384 sha512 snap span src step sub subnet task thread toolu trace ts txn uid user uuid vendor vol vpc vs
    """.split()  # noqa: SIM905 (a word a line would fill a page)
)
"""What stands before an id or a hash, which opens no door."""
_IS_AN_ID = re.compile(
    r"(?:\b|_)(?:[Ii][Dd]s?|uuid|ref|reference)\b[^\w\n]{0,3}(?:is |of |for example,? |e\.g\.,? )?[^\w\n]{0,4}$|(?<=[a-z])I[Dd][^\w\n]{0,4}$"
)
_FEWEST_DIGITS, _LONG, _SHORT_NAME, _MIN_HEX = 2, 28, 5, 32
_JOINTS = frozenset("/\\.@#-+$")
_DOTTED = r"\b[A-Za-z][A-Za-z0-9]{0,7}\.(?:[A-Za-z0-9]{1,6}\.){0,2}[A-Za-z0-9_\-]{20,}(?:\.[A-Za-z0-9_\-]{8,})*"
_DOTS = re.compile(r"\.")
_GOES_ON = re.compile(r"[./@:\\][A-Za-z0-9]|[*#…]")


def dotted_tokens(folded: FoldedText) -> Iterator[Span]:
    """``hawk.nHAOHdJj….R2gqQh2a…``: parts with dots between."""
    for start, end in folded.spans(_DOTTED):
        found = folded.text[start:end].rstrip(".-_")
        if folded.before(start, 1) in _JOINTS or _GOES_ON.match(folded.text, end) or folded.text[end : end + 1] == "(":
            continue
        body = max(_DOTS.split(found), key=len)
        if _is_mixed(body, named=False) and sum(map(str.isdigit, body)) > _FEWEST_DIGITS and unreadable(body):
            yield Span(start, start + len(found), "api_key", 0.55, "opaque_token")


def opaque_tokens(folded: FoldedText) -> Iterator[Span]:
    for pattern in (_PREFIXED, _WITH_UUID):
        for start, end in folded.spans(pattern):
            if _is_token(folded, start, end):
                yield Span(start, end, "api_key", 0.6, "opaque_token")


def _is_token(folded: FoldedText, start: int, end: int) -> bool:
    found = folded.text[start:end]
    if folded.before(start, 1) in _JOINTS or _GOES_ON.match(folded.text, end):
        return False
    body = _UUID.search(found) or max(_BODY.finditer(found), key=lambda match: match.end() - match.start())
    names = _SIGNS.split(found[: body.start()].strip("_-"))
    named = any(_NAMES_A_SECRET.fullmatch(name) for name in names)
    if not named and _IS_AN_ID.search(folded.before(start, 30)):
        return False
    if is_placeholder(found) or (not named and not _NAMES_A_THING.isdisjoint((names[0], names[-1]))):
        return False
    if _HEX_OR_UUID.fullmatch(body[0]):
        return named or (
            len(names) == 1
            and len(names[0]) <= _SHORT_NAME
            and found[body.start() - 1] == "_"
            and len(body[0]) >= _MIN_HEX
        )
    return _is_mixed(body[0], named=named)


def _is_mixed(body: str, *, named: bool) -> bool:
    """Digits among letters of both cases; of one, if it is long or a name says so."""
    digits = sum(map(str.isdigit, body))
    if digits < _FEWEST_DIGITS or digits > len(body) * 2 // 3:
        return False
    both = body != body.lower() and body != body.upper()
    return both or ((named or len(body) >= _LONG) and digits > _FEWEST_DIGITS)


OPAQUE_RULES = (
    Rule(r"\.[A-Za-z0-9_\-]{16}", dotted_tokens),
    Rule(r"[_\-][A-Za-z0-9]{16}|[_\-][0-9a-f]{8}-[0-9a-f]{4}-", opaque_tokens),
)
