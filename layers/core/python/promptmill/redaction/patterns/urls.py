"""Find URLs that tell of a person or carry something of theirs, and the credentials in any URL.

A home page may be somebody's, and so may a path with a name or a number in it. A page of a document, an endpoint of a
program and the hosts of ``public_hosts.txt`` tell nothing about a person and stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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
_SET_ASIDE = frozenset(("example", "test", "invalid", "local", "localhost"))
"""Domains that RFC 2606 and its kin keep for examples."""
_OF_DOCUMENTS = re.compile(
    r"(?:docs?|documentation|developers?|dev|api|apis|wiki|help|support|bugs?|bugzilla|issues|git|svn|lists|forum|community|cdn|static"
    r"|assets|downloads?|packages|registry|archive|mirrors?|status|learn|manual|specs?)\.[\w\-]+\.",
    re.IGNORECASE,
)
_ASSET = re.compile(r"\.(?:png|jpe?g|gif|ico|svg|webp|css|js|woff2?|tgz|gz|bz2|xz|zip|xsd|dtd)$", re.IGNORECASE)
_API_GROUP = re.compile(r"/v\d+(?:(?:alpha|beta)\d+)?$")
_HOST = re.compile(r"(?:\w+://)?([^/?#:]*)(?::\d{1,5})?")
_OF_A_PERSON = re.compile(
    r"/(?:~|@|(?:in|u|users?|people|person|profiles?|members?|authors?|accounts?|customers?|clients?|patients?|employees?|orders?|invoices?"
    r"|invites?|join|verify|confirm|reset|unsubscribe|share[ds]?|d|s)/)"
    r"|[?&#][\w\-.\[\]]*(?:tok|key|auth|user|mail|name|pass|secret|session|code|sig|uid|phone)[\w\-.\[\]]*=[^&]"
    r"|[?&][^=&]*=[^&]*(?:@|%40|\d{5}|[\w\-]{16})|\d{6}|[0-9a-f]{8}-[0-9a-f]{4}-|(?<![\w\-])(?=[A-Za-z\-]{0,40}\d)[\w\-]{20,}",
    re.IGNORECASE,
)
"""What in a path or a query belongs to one person: a word before a name, a parameter, a long number or random word."""
_SOCIAL = re.compile(
    r"(?:[\w\-]+\.)?(?:facebook|instagram|twitter|x|linkedin|tiktok|youtube|pinterest|medium|xing|vk|flickr|behance|dribbble|strava|calendly"
    r"|paypal|venmo|soundcloud|twitch|patreon|keybase|about|linktr|weibo)\.(?:com|me|ee|tv|io|co)|t\.me|wa\.me|paypal\.me|[\w\-]+\.(?:slack|zoom)\.(?:com|us)",
    re.IGNORECASE,
)
_CODE_BEFORE = re.compile(
    r"(?:(?:image|figure|target|alt|see|cite)::? |[\w`)] <|\]: |(?:^|\n) {0,8}(?:#|//|\*|--|%|;) ?(?:see:? )?|\bproject-url: ?[\w \-]{1,24}, "
    r"|\b(?:src|href|url|uri|endpoint|host|base|import|require|from)\b[\w\"'` ]{0,9}[=:(] ?[\"'`]?|\]\(|\w\([\"']|`)$",
    re.IGNORECASE,
)
_NEAR, _MIN_PATH = 200, 5
_MIN_USES = 2


def find_url_credentials(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.find_spans(_USERINFO, group=1):
        user, _, password = folded.text[start:end].partition(":")
        if (password or len(user) >= _LONG_USER) and not _PLACEHOLDER.fullmatch(password or user):
            yield Span(start, end, "url_credentials", 0.95, "url_credentials")


def find_urls(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.find_spans(_URL):
        found = _trim(folded.text[start:end])
        host = _HOST.match(found)
        if not host or "@" in host[1] or "." not in host[1] or len(found) - found.find("://") <= _MIN_PATH:
            continue
        alone = _is_all(folded.text, start, start + len(found)) and not _is_public(host[1].lower())
        if alone or not (_tells_nothing(host[1], found[host.end() :]) or _is_in_code(folded, start)):
            yield Span(start, start + len(found), "url", 0.6, "url")


def find_bare_hosts(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.find_spans(f"{_WWW}|{_BARE_HOST}"):
        found = _trim(folded.text[start:end])
        before, after = folded.text_before(start, 1), folded.text[start + len(found) : start + len(found) + 2]
        if before in ("@", ".", "/", "-", "_", "\\", ":", "$", "#", "=") or re.match(r"[\w@(:#]|[.\-]\w", after):
            continue
        host, _, path = found.partition("/")
        if _tells_nothing(host, path and "/" + path) or _is_attribute(folded, start, host):
            continue
        if not _API_GROUP.search(found) and (found.islower() or found.startswith("www.") or "/" in found):
            yield Span(start, start + len(found), "url", 0.5, "host")


def _is_all(text: str, start: int, end: int) -> bool:
    """Return True if [start, end) is a whole text of a request, or of those that are searched at once."""
    return text[max(0, start - 2) : start] in ("", "\0\n") and text[end : end + 2] in ("", "\n\0")


def _tells_nothing(host: str, path: str) -> bool:
    """Return True for an address that is nobody's: of a public host, or of a page that holds no name and no number."""
    if _is_public(host.lower()):
        return True
    if len(path) <= 1:
        return _OF_DOCUMENTS.match(host) is not None
    return not (_OF_A_PERSON.search(path) or _SOCIAL.fullmatch(host)) or _ASSET.search(path) is not None


def _is_public(host: str) -> bool:
    names, hosts = host.split("."), _public_hosts()
    if names[-1] in _SET_ASIDE or "example" in names[-2:]:
        return True
    return any(".".join(names[at:]) in hosts for at in range(max(0, len(names) - _MOST_NAMES), len(names)))


_MOST_NAMES = 4


@cache
def _public_hosts() -> frozenset[str]:
    lines = Path(__file__).with_name("public_hosts.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(host for line in lines if not line.startswith("#") for host in line.split())


def _is_attribute(folded: FoldedText, start: int, host: str) -> bool:
    """Return True for ``work.fr`` in a program: what stands before the dot has other attributes nearby."""
    name, _, rest = host.partition(".")
    if "." in rest:
        return False
    near = folded.text[max(0, start - _NEAR) : start + _NEAR]
    return near.count(f"{name}.") >= near.count(host) + _MIN_USES or f"{host} = " in near


def _is_in_code(folded: FoldedText, start: int) -> bool:
    """Return True for an endpoint of a program or of a curl command, which says nothing of a person."""
    in_command = folded.text.rfind("curl ", max(0, start - 160), start) >= 0
    return in_command or _CODE_BEFORE.search(folded.text_before(start, 40)) is not None


def _trim(found: str) -> str:
    """Cut off what ends the sentence rather than the address."""
    found = found.partition("](")[0]
    while found and found[-1] in _TRAILING and not (found[-1] == ")" and "(" in found):
        found = found[:-1]
    return found


URL_RULES = (
    Rule(r"://[^\s/?#\"'<>\\`]+@", find_url_credentials),
    Rule(_URL, find_urls),
    Rule(f"{_WWW}|{_BARE_HOST}", find_bare_hosts),
)
