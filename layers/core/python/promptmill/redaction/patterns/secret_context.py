"""Find keys without a format of their own by the words before them: ``api_key = …``, ``Authorization: Bearer …``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import zip_longest

from promptmill.redaction.patterns.folded_text import FoldedText
from promptmill.redaction.patterns.looks_like_secret import Judge, is_reference, looks_random
from promptmill.redaction.patterns.rules import Rule
from promptmill.redaction.spans import Span

_KEYWORD = (
    r"(?i)(?:secret|token|api[ _\-]?key|credential|private|access|auth|(?:[^a-z]|\b|api|app|client|service|server|account|master|encryption|signing|shared|access|private|secret|license|user)key"
    r"|key[ _\-]?[12b]?\b|_key|[^a-z]pat\b|login|signature=|crumb|unseal|licen[sc]e[_\-]?key|session[_\-]?id|cookie|contribsys__com|reporter_id|webhook|salt|nonce|hmac|_api\b|apikey|_sid\b|oauth)"
)
_MAX_REACH = 110
_WORD = re.compile(r"[^\s\"'`,;<>\[\]{}|\\()\0]+")
_QUOTED = re.compile(r"[\w\-.]{0,24}[\"'`\])]{0,2}\s{0,8}(?:=>|:=|[:=,(])\s{0,8}([\"'`])([^\"'`\s]{12,})\1")
_GLUED = re.compile(r"[\w\-.]{0,30}?(?:[=:]{1,3}|[=:]>)(?=.)")
_CLOSING = ".,;:!?*_"
_SUFFIX_OF_A_NAME = re.compile(
    r"(?i)[\w\-.]{0,16}(?:id|ids|arns?|ur[il]|path|file|name|type|selector|store|tab|event|size|length|len|count|expir\w*|ttl|alg\w*|version|field|label"
    r"|hash|code|pair|board|word|down|up|press|ring|frame|map|set|list|index|usage|space|able|ed|ing|ion|ions|ors?|ity|ization|point|scope|scopes|level|modifiers?|denied|control|log|rights|method|mode)"
    r"(?=[\s\"'=:(\[<>,;.\-]|$)"
)
_NOT_SECRET_BEFORE = re.compile(
    r"(?i)(?:public[_\- ]?(?:key)?[_\- ]?|\bpub[_\- ]?|\bdid:?|sequence[_\- ]?|foreign[_\- ]?|primary[_\- ]?|partition[_\- ]?|sort[_\- ]?|cache[_\- ]?|object[_\- ]?|dedup\w*[_\- ]?|sha\d*|md5|checksum|digest|commit|rev(?:ision)?|integrity|etag|fingerprint|sum|monkey|turkey|hockey|jockey|hotkey|whiskey|donkey|idempotency[_\- ]?|page[_\- ]?|next[_\- ]?|continuation[_\- ]?|issuer)$"
)
_CUT = re.compile(r"&|%26|\\n|\\r|\$\(|://")
_MAX_WORDS = 4
_BLOB, _WITHOUT_SIGNS = 40, str.maketrans("", "", "+/-_")
_MIN_WORD = 3
_MAX_LENGTH = 4_000
_NOWHERE = (sys.maxsize, 0)
_ENDS_NO_NAME = frozenset("=;,(){}[]'\"\n")
_BLANK = re.compile(r"[\s\0]")
_BARE_KEY = re.compile(r"(?i)(?:^|[^\w\s\-])[ \t]*key$", re.MULTILINE)
_UUID = re.compile(r"[0-9A-Za-z]{8}-(?:[0-9A-Za-z]{4}-){3}[0-9A-Za-z]{11,12}")


def find_named_secrets(folded: FoldedText) -> Iterator[Span]:
    reached, judge = 0, Judge()
    words = [span for span in folded.find_spans(_KEYWORD) if not _about_something_else(folded, *span)]
    for (start, end), (following, _) in zip_longest(words, words[1:], fillvalue=_NOWHERE):
        if start < reached:
            continue
        found = _find_quoted(folded.text, end, judge) or _find_secret(folded.text, end, following, judge)
        if found is not None:
            reached = found[1]
            yield Span(*found, "api_key", 0.7, "named_secret")


def _about_something_else(folded: FoldedText, start: int, end: int) -> bool:
    before = folded.text_before(start, 16)
    other = before[-1:] not in _ENDS_NO_NAME and _NOT_SECRET_BEFORE.search(before)
    return bool(other) or _ends_in_a_name(folded, end) or _is_in_a_blob(folded, start)


def _is_in_a_blob(folded: FoldedText, start: int) -> bool:
    """Return True if a word such as ``key`` stands in the middle of base64."""
    before = folded.text_before(start, _BLOB)
    return len(before) == _BLOB and before.translate(_WITHOUT_SIGNS).isalnum()


def _ends_in_a_name(folded: FoldedText, end: int) -> bool:
    """Return True if a name goes on, as ``token_url`` or ``keySelector``: it is about secrets, and names none."""
    match = _SUFFIX_OF_A_NAME.match(folded.text, end, end + 30)
    return match is not None and bool(match[0])


def _find_quoted(text: str, at: int, judge: Judge) -> tuple[int, int] | None:
    """Return a value in quotes: all that the quotes hold, whatever its signs."""
    match = _QUOTED.match(text, at, at + _MAX_LENGTH)
    return match.span(2) if match and judge.random(match[2], least=12) and "://" not in match[2] else None


def _find_secret(text: str, at: int, following: int, judge: Judge) -> tuple[int, int] | None:
    """Return the first word behind ``at`` that looks random, with only names and signs between, or None.

    What starts behind the ``following`` word for a secret belongs to that one.
    """
    words, done = 0, at
    for match in _WORD.finditer(text, at, at + _MAX_REACH):
        if words >= _MAX_WORDS or match.start() > following or _is_too_far(text, done, match.start()):
            return None
        start, end = _trim_value(text, *match.span(), judge)
        value = text[start:end]
        if _UUID.fullmatch(value) and _BARE_KEY.search(text, max(0, at - 24), at):
            return None
        if judge.random(value, least=8 if start > at else 12) and "://" not in match[0]:
            _, end = _trim_value(text, match.start(), _find_whole_end(text, match.end(), at + _MAX_REACH), judge)
            return start, _find_closing_quote(text, match.start(), end)
        words, done = words + 1 + _counts_twice(value, text[done:start], judge), match.end()
    return None


def _counts_twice(value: str, between: str, judge: Judge) -> bool:
    """Return True for a word of a sentence or of code: a secret is less likely behind it than in a configuration."""
    if not value:
        return False
    return judge.reference(value) or (value.islower() and len(value) >= _MIN_WORD and "=" not in between)


def _find_closing_quote(text: str, start: int, end: int) -> int:
    """Return where the quotes around a value close if no blank comes before, else the value's end."""
    quote = text[start - 1 : start]
    if quote not in ("'", '"', "`"):
        return end
    closing = text.find(quote, end - 1, end + 160)
    closing -= text[closing - 1 : closing] == "\\"  # JSON in a string
    return closing if closing >= 0 and not _BLANK.search(text, end, closing) else end


def _find_whole_end(text: str, end: int, limit: int) -> int:
    """Return the end of a word that may go on behind the limit."""
    if end < limit:
        return end
    match = _WORD.match(text, end, end + _MAX_LENGTH)
    return match.end() if match else end


def _is_too_far(text: str, done: int, start: int) -> bool:
    """Return True if a sentence, a statement or a second line ended in between."""
    between = text[done:start]
    return (
        "\0" in between
        or between.count("\n") > 1
        or ";" in between
        or ("\n" in between and done > 0 and text[done - 1] not in "=:yYnNsSdDhH")
    )


def _trim_value(text: str, start: int, end: int, judge: Judge) -> tuple[int, int]:
    """Cut off a name glued to the front of a value, signs around it, and what a URL goes on with."""
    while start < end and text[start] in "=:-.*#&?!@/_+~" and not _is_body(text, start, end):
        start += 1
    glued = _GLUED.match(text, start, end)
    if glued and glued.end() < end and not judge.random(text[start : glued.end() - 1]):
        start = glued.end()
    cut = _CUT.search(text, start, end)
    end = cut.start() if cut else end
    while end > start and text[end - 1] in _CLOSING:
        end -= 1
    return start, end


def _is_body(text: str, start: int, end: int) -> bool:
    """Return True if a sign belongs to the secret itself: it is one of base64, at the front of a long word."""
    return text[start] in "_/+~." and end - start >= 40 and text[start + 1 : start + 2].isalnum()  # noqa: PLR2004 (a key's length)


_HEADER = (
    r"(?i)(?:authorization|x-[a-z\-]*(?:key|token|auth)|api-?key|api-?token|\btoken|x-auth[a-z\-]*)[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
    r"(?:bearer|basic|token|api-?token|apikey|ssws|splunk|digest|key|jwt)?[ :=]{0,3}([A-Za-z0-9_\-./+=~@!%^&*$]{8,})"
)
_BEARER = r"(?i)\b(?:bearer|ssws)[ :]{1,3}([A-Za-z0-9_\-./+=~]{12,})"
_USER_OPTION = r"(?:\s-u|--user)[ =][\"']?[^\s:\"']{1,80}:([^\s\"'@]{4,})"
_IN_A_PATH = r"(?i)/(?:api/v\d|bot|token|key|webhooks?|hooks?|b2b|in)/([A-Za-z0-9_\-:]{18,})"


def _make_group_rule(name: str, pattern: str, *, least: int = 8) -> Rule:
    def find(folded: FoldedText) -> Iterator[Span]:
        for start, end in folded.find_spans(pattern, group=1):
            value = folded.text[start:end].rstrip(_CLOSING)
            if looks_random(value, least=least) and not is_reference(value):
                yield Span(start, start + len(value), "api_key", 0.8, name)

    return Rule(pattern, find)


CONTEXT_RULES = (
    Rule(_KEYWORD, find_named_secrets),
    _make_group_rule("header", _HEADER),
    _make_group_rule("bearer", _BEARER, least=12),
    _make_group_rule("user_option", _USER_OPTION),
    _make_group_rule("in_a_path", _IN_A_PATH, least=18),
)
