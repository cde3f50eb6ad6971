"""Web addresses, and the credentials in any URL."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptmill.redaction.patterns.folded_text import FoldedText
from promptmill.redaction.patterns.rules import Rule
from promptmill.redaction.spans import Span

_USERINFO = r"[a-zA-Z][a-zA-Z0-9+.\-]{1,20}://([^\s/?#\"'<>\\`]+)@"
_LONG_USER = 16
_PLACEHOLDER = re.compile(
    r"[$%{<*\[].*|\*+|x+|(?:user(?:name)?|your[_\-]?\w*|login|name)?:?(?:pass(?:word|wd)?|pwd|\$\w+|\*+|x+|\.+|\{.*|<.*|%\w+%)?",
    re.IGNORECASE,
)

_URL = r"(?i)\b(?:https?|ftp)://[^\s<>\"'`\\|{}^]+"
_BARE_HOST = (
    r"\b(?:[A-Za-z0-9](?:[A-Za-z0-9\-]*[A-Za-z0-9])?\.)+(?:com|org|net|edu|gov|mil|info|biz|io|ai|dev|app|eu"
    r"|(?:com?|org|net|ac|gov|edu)\.[a-z]{2}|de|fr|nl|ch|at|uk|ca|jp|ru|br|pl|se|dk|fi|cz|hu|uy)\b(?:/[^\s<>\"'`\\|{}^]*)?"
)
_WWW = r"(?i)\bwww\.[a-z0-9\-]+\.[a-z]{2,}[^\s<>\"'`\\|{}^]*"
_TRAILING = ".,;:!?)]}'\"*_"
_PUBLIC = re.compile(
    r"(?:[\w\-]+\.)*(?:localhost|example(?:\.\w+)?|\w+\.(?:example|test|invalid|local|localhost)|github(?:usercontent)?\.com|github\.io"
    r"|gitlab\.com|bitbucket\.org|googleapis\.com|gstatic\.com|google\.com|w3\.org|schema\.org|json-schema\.org|xmlsoap\.org"
    r"|npmjs\.(?:org|com)|yarnpkg\.com|pypi\.org|python\.org|golang\.org|rust-lang\.org|docs\.rs|crates\.io|maven\.org"
    r"|apache\.org|nuget\.org|docker\.(?:io|com)|readthedocs\.io|stackoverflow\.com|wikipedia\.org|mozilla\.org|jquery\.com"
    r"|cloudflare\.com|amazonaws\.com|azure\.com|openai\.com|anthropic\.com|huggingface\.co|sonarcloud\.io|djangoproject\.com)",
    re.IGNORECASE,
)
"""Hosts that say nothing about anybody: registries, standards, documentation, the names that RFC 2606 sets aside."""
_ASSET = re.compile(r"\.(?:png|jpe?g|gif|ico|svg|webp|css|js|woff2?|tgz|gz|zip|xsd|dtd)$", re.IGNORECASE)
_API_GROUP = re.compile(r"/v\d+(?:(?:alpha|beta)\d+)?$")
_HOST = re.compile(r"(?:\w+://)?([^/?#:]*)")
_CODE_BEFORE = re.compile(
    r"(?:\b(?:src|href|url|uri|endpoint|host|base|import|require|from)\b[\w\"'` ]{0,9}[=:(] ?[\"'`]?|\]\(|\w\([\"'])$",
    re.IGNORECASE,
)


def url_credentials(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.spans(_USERINFO, group=1):
        user, _, password = folded.text[start:end].partition(":")
        if (password or len(user) >= _LONG_USER) and not _PLACEHOLDER.fullmatch(password or user):
            yield Span(start, end, "url_credentials", 0.95, "url_credentials")


def urls(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.spans(_URL):
        found = _trimmed(folded.text[start:end])
        host = _HOST.match(found)
        if not host or "@" in host[1] or "." not in host[1] or _PUBLIC.fullmatch(host[1]) or _ASSET.search(found):
            continue
        if len(found) - found.find("://") > 5 and not _in_code(folded, start):  # noqa: PLR2004 (a.b)
            yield Span(start, start + len(found), "url", 0.6, "url")


def bare_hosts(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.spans(f"{_WWW}|{_BARE_HOST}"):
        found = _trimmed(folded.text[start:end])
        before, after = folded.before(start, 1), folded.text[start + len(found) : start + len(found) + 2]
        if before in ("@", ".", "/", "-", "_", "\\", ":", "$", "#") or _PUBLIC.fullmatch(found.partition("/")[0]):
            continue
        if (
            not re.match(r"[\w@(:#]|[.\-]\w", after)
            and not _API_GROUP.search(found)
            and (found.islower() or found.startswith("www.") or "/" in found)
        ):
            yield Span(start, start + len(found), "url", 0.5, "host")


def _in_code(folded: FoldedText, start: int) -> bool:
    """An endpoint of a program or of a curl command says nothing of a person."""
    in_command = folded.text.rfind("curl ", max(0, start - 160), start) >= 0
    return in_command or _CODE_BEFORE.search(folded.before(start, 24)) is not None


def _trimmed(found: str) -> str:
    """Without what ends the sentence rather than the address."""
    while found and found[-1] in _TRAILING and not (found[-1] == ")" and "(" in found):
        found = found[:-1]
    return found


URL_RULES = (
    Rule(r"://[^\s/?#\"'<>\\`]+@", url_credentials),
    Rule(_URL, urls),
    Rule(f"{_WWW}|{_BARE_HOST}", bare_hosts),
)
