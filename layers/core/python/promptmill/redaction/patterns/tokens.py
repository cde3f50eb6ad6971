"""Find private keys, tokens whose format tells who gave them out, and tokens of services that are not known here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from promptmill.redaction.patterns.data_files import read_tables
from promptmill.redaction.patterns.folded_text import FoldedText
from promptmill.redaction.patterns.looks_like_secret import is_placeholder, is_unreadable
from promptmill.redaction.patterns.rules import Rule, Valid, make_rule
from promptmill.redaction.spans import Span

_BEGIN = r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_BODY_CHARS = re.compile(r"[A-Za-z0-9+/=\s\\:,.()@<>\"'\-]*")
_MIN_KEY_LENGTH = 24


_IS_BASE64 = re.compile(r"[A-Za-z0-9+/=]{12}")


def find_private_keys(folded: FoldedText) -> Iterator[Span]:
    reached = 0
    for start, opened in folded.find_spans(_BEGIN):
        if start < reached:
            continue
        body = _BODY_CHARS.match(folded.text, opened)
        reached = body.end() if body else opened
        closed = _END.search(folded.text, opened, reached)
        inside = closed.start() if closed else reached
        reached = closed.end() if closed else reached
        if (inside - opened >= _MIN_KEY_LENGTH and _IS_BASE64.search(folded.text, opened, inside)) or not closed:
            yield Span(start, reached, "private_key", 0.99, "private_key")


PRIVATE_KEY_RULES = (Rule(_BEGIN, find_private_keys),)


TOKEN_FORMATS: tuple[tuple[str, str, str], ...] = tuple(
    (service, start, rest)
    for service, formats in read_tables("tokens.toml")["formats"][0].items()
    for start, rest, _ in formats
)
"""(service, how its keys start, the pattern of what follows)"""
_PREFIXES = r"\b(?:" + "|".join(re.escape(start) for start in dict.fromkeys(t[1] for t in TOKEN_FORMATS)) + ")"
_GATE = _PREFIXES + r"[^\s\"'<>]{10}"
_WORDS_ONLY = re.compile(r"[a-z]+(?:[_\-.][a-z]*)*|[A-Z]+(?:[_\-][A-Z]*)*|(?:[A-Za-z]{2,12}[_\-])+[A-Za-z]{2,12}")
_WITHOUT_DIGITS = frozenset(("hugging_face", "beamer"))
_WORDS_IN_PATHS = frozenset(("octopus", "launchdarkly"))
_MIN_CHARACTERS = 5
_MAX_LENGTH = 1_000
"""Characters that a format looks at. Without a limit, a text full of beginnings would be read to its end from each one."""
_MIN_WIDTH = 40
_NEXT_LINE = re.compile(r"\r?\n([A-Za-z0-9_\-+/=.]{8,400})(?=\r?\n|\Z)")
_REST = re.compile(r"[A-Za-z0-9_\-+/=.]*")
_AZURE = re.compile(r".{3}\dQ~.{31,34}")


@cache
def _formats_by_start() -> dict[str, list[tuple[str, str]]]:
    """Return names and patterns by their first two characters, the longest beginnings first."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, start, rest in sorted(TOKEN_FORMATS, key=lambda one: -len(one[1])):
        found.setdefault(start[:2], []).append((name, re.escape(start) + rest))
    return found


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def find_tokens(folded: FoldedText) -> Iterator[Span]:
    reached = 0
    for start, _ in folded.find_spans(_PREFIXES):  # not the gate: what it reads beyond them could hide another
        if start < reached:
            continue
        for name, pattern in _formats_by_start().get(folded.text[start : start + 2], ()):
            match = _compiled(pattern).match(folded.text, start, start + _MAX_LENGTH)
            if match and _is_token(folded, start, match[0], name):
                reached = _extend_over_lines(folded.text, start, _find_whole_end(folded.text, start, match.end()))
                yield Span(start, reached, "api_key", 0.95, name)
                break


def _find_whole_end(text: str, start: int, end: int) -> int:
    """Return the end of a key, which may be longer than what was looked at."""
    rest = _REST.match(text, end) if end == start + _MAX_LENGTH else None
    return rest.end() if rest else end


def _extend_over_lines(text: str, start: int, end: int) -> int:
    """Return the end of a key that goes on in the next lines, since something has broken it at a fixed width."""
    first = text.rfind("\n", 0, start) + 1
    width = end - first
    while width >= _MIN_WIDTH and (line := _NEXT_LINE.match(text, end)):
        end = line.end()
        if len(line[1]) < width - 1:
            break
    return end


def _is_token(folded: FoldedText, start: int, found: str, name: str) -> bool:
    before = folded.text_before(start, 1)
    if folded.text[start + len(found) : start + len(found) + 1] in ("#", "*"):
        return False  # somebody has blotted it out already
    if before == "+" or (before == "/" and name in _WORDS_IN_PATHS):
        return False  # in the middle of base64, in the middle of a path
    if name == "aws_key_id":
        return len(set(found)) > _MIN_CHARACTERS
    if is_placeholder(found) or _WORDS_ONLY.fullmatch(found) or found.lower().endswith("here"):
        return False
    return any(map(str.isdigit, found[4:])) or (name in _WITHOUT_DIGITS and is_unreadable(found[3:]))


def _always(*_: object) -> bool:
    return True


def _make_variety_check(least: int) -> Valid:
    return lambda folded, start, end: len(set(folded.text[start:end])) >= least


def _is_azure_secret(folded: FoldedText, start: int, end: int) -> bool:
    """Return True for a whole secret, not the middle of something longer with the same signs in it."""
    found = folded.text[start:end]
    return _AZURE.fullmatch(found) is not None and found != found.lower() and not is_placeholder(found)


TOKEN_RULES = (
    Rule(_GATE, find_tokens),
    make_rule("telegram", "api_key", r"\b\d{8,10}:[A-Za-z0-9_\-]{33,37}\b", 0.95, _make_variety_check(12)),
    make_rule("discord_bot", "api_key", r"\b[MNO][A-Za-z0-9]{23,28}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27,38}\b", 0.95, _make_variety_check(12)),
    make_rule("terraform", "api_key", r"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_\-=]{60,70}", 0.95, _always),
    make_rule("azure_client_secret", "api_key", r"[A-Za-z0-9_~.\-]*\dQ~[A-Za-z0-9_~.\-]*", 0.9, _is_azure_secret),
    make_rule("azure_devops", "api_key", r"\b[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}\b", 0.95, _always),
    make_rule("maxmind", "api_key", r"\b[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk\b", 0.95, _always),
    make_rule("firebase", "api_key", r"\bAAAA[A-Za-z0-9_\-]{7}:APA91b[A-Za-z0-9_\-]{100,}", 0.95, _always),
    make_rule("truenas", "api_key", r"\b\d{1,3}-[A-Za-z0-9]{64}\b", 0.9, _make_variety_check(12)),
    make_rule("zhipu", "api_key", r"\b[0-9a-f]{32}\.[A-Za-z0-9]{16}\b", 0.9, _always),
    make_rule("google_client", "api_key", r"\b\d{6,}-[a-z0-9_]{32}\.apps\.googleusercontent\.com\b", 0.8, _always),
    make_rule("mailchimp", "api_key", r"\b[0-9a-f]{32}-us\d{1,2}\b", 0.95, _always),
    make_rule("figma_old", "api_key", r"\b\d{4,6}-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", 0.8, _always),
    make_rule("openai_marked", "api_key", r"[A-Za-z0-9_\-]{20,}T3BlbkFJ[A-Za-z0-9_\-]{20,}", 0.95, _always),
    make_rule("google_service_account", "private_key", r"\{[^{}]*auth_provider_x509_cert_url[^{}]*\}", 0.95, _always),
    make_rule("new_relic_license", "api_key", r"\b[0-9a-z]{36}NRAL\b", 0.9, _always),
    make_rule("crypt_hash", "password", r"\$(?:1|2[abxy]?|5|6|7|8|9|y|gy|sha1|apr1|argon2(?:id?|d)|scrypt|ml|pbkdf2-sha\d+|bcrypt-sha256)\$[A-Za-z0-9./$=,+\-]{20,}", 0.9, _always),
    make_rule("kerberos_hash", "password", r"\$krb5[a-z]+\$[^\s\"']{40,}", 0.95, _always),
    make_rule("password_hash", "password", r"\b(?:pbkdf2_sha\d+|bcrypt(?:_sha256)?|argon2|scrypt)\$[A-Za-z0-9./$=,+\-]{30,}", 0.9, _always),
    make_rule("ldap_hash", "password", r"\{(?:SSHA|SHA|SMD5|MD5|CRYPT)\d*\}[A-Za-z0-9+/=.$]{16,}", 0.9, _always),
)  # fmt: skip


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
"""Names before an id or a hash, which gives no access to anything."""
_IS_AN_ID = re.compile(
    r"(?:\b|_)(?:[Ii][Dd]s?|uuid|ref|reference)\b[^\w\n]{0,3}(?:is |of |for example,? |e\.g\.,? )?[^\w\n]{0,4}$|(?<=[a-z])I[Dd][^\w\n]{0,4}$"
)
_MIN_DIGITS, _LONG, _SHORT_NAME, _MIN_HEX = 2, 28, 5, 32
_JOINTS = frozenset("/\\.@#-+$")
_DOTTED = r"\b[A-Za-z][A-Za-z0-9]{0,7}\.(?:[A-Za-z0-9]{1,6}\.){0,2}[A-Za-z0-9_\-]{20,}(?:\.[A-Za-z0-9_\-]{8,})*"
_DOTS = re.compile(r"\.")
_GOES_ON = re.compile(r"[./@:\\][A-Za-z0-9]|[*#…]")


def find_dotted_tokens(folded: FoldedText) -> Iterator[Span]:
    """Find parts with dots between, as in ``hawk.nHAOHdJj….R2gqQh2a…``."""
    for start, end in folded.find_spans(_DOTTED):
        found = folded.text[start:end].rstrip(".-_")
        if (
            folded.text_before(start, 1) in _JOINTS
            or _GOES_ON.match(folded.text, end)
            or folded.text[end : end + 1] == "("
        ):
            continue
        body = max(_DOTS.split(found), key=len)
        if _is_mixed(body, named=False) and sum(map(str.isdigit, body)) > _MIN_DIGITS and is_unreadable(body):
            yield Span(start, start + len(found), "api_key", 0.55, "opaque_token")


def find_opaque_tokens(folded: FoldedText) -> Iterator[Span]:
    for pattern in (_PREFIXED, _WITH_UUID):
        for start, end in folded.find_spans(pattern):
            if _is_opaque_token(folded, start, end):
                yield Span(start, end, "api_key", 0.6, "opaque_token")


def _is_opaque_token(folded: FoldedText, start: int, end: int) -> bool:
    found = folded.text[start:end]
    if folded.text_before(start, 1) in _JOINTS or _GOES_ON.match(folded.text, end):
        return False
    body = _UUID.search(found) or max(_BODY.finditer(found), key=lambda match: match.end() - match.start())
    names = _SIGNS.split(found[: body.start()].strip("_-"))
    named = any(_NAMES_A_SECRET.fullmatch(name) for name in names)
    if not named and _IS_AN_ID.search(folded.text_before(start, 30)):
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
    """Return True for digits among letters of both cases, or of one case if it is long or a name says so."""
    digits = sum(map(str.isdigit, body))
    if digits < _MIN_DIGITS or digits > len(body) * 2 // 3:
        return False
    both = body != body.lower() and body != body.upper()
    return both or ((named or len(body) >= _LONG) and digits > _MIN_DIGITS)


OPAQUE_RULES = (
    Rule(r"\.[A-Za-z0-9_\-]{16}", find_dotted_tokens),
    Rule(r"[_\-][A-Za-z0-9]{16}|[_\-][0-9a-f]{8}-[0-9a-f]{4}-", find_opaque_tokens),
)
