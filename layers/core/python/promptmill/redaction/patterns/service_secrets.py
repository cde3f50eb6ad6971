"""Keys beside the name of the service that gave them out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptmill.redaction.patterns.folded_text import FoldedText
from promptmill.redaction.patterns.looks_like_secret import Judge, is_filler
from promptmill.redaction.patterns.rules import Rule
from promptmill.redaction.patterns.services import AMBIGUOUS, SERVICES
from promptmill.redaction.spans import Span

_SERVICE = r"(?i)\b(?:" + "|".join(sorted({*SERVICES, *AMBIGUOUS}, key=lambda name: (-len(name), name))) + ")"
_BESIDE = re.compile(r"[\w\-. ]{0,20}?[\"']?(?:[ :\-]|\s?=[>=]?|\?=|::?=){1,4}\s{0,2}[\"']?([A-Za-z0-9_\-./+=~]{10,})")
_GOES_ON = re.compile(
    r"(?:api|key|token|secret|access|auth|pass|app|client|private|public|webhook|bot|dev|test|prod|sandbox|sdk|io|com|hq|cli|id)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(
    r"(?i)(?:public[_\- ]?key|sha\d*|md5|checksum|digest|commit|rev(?:ision)?|version|integrity|etag|fingerprint|hash|branch|image|tag|path|url|uri|host|name|region)$"
)
_UUID = re.compile(r"[0-9A-Za-z]{8}-(?:[0-9A-Za-z]{4}-){3}[0-9A-Za-z]{11,12}")
_GROUPS = re.compile(r"[A-Z0-9]{4,12}(?:-[A-Z0-9]{4,12}){3,}")
_PATH = re.compile(r"(?:[\w.\-]*/)?[A-Za-z]?[a-z]{3,}/")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REACH, _LONGEST = 140, 4_000
_LEAST, _MIN_BESIDE_A_WORD = 16, 28
_CLOSING = ".,;:!?*_"


def service_secrets(folded: FoldedText) -> Iterator[Span]:
    reached, judge = 0, Judge()
    for start, end in folded.spans(_SERVICE):
        if start < reached or _is_another_word(folded.text, start, end):
            continue
        match = _BESIDE.match(folded.text, end, end + _REACH)
        if match is None or _NO_SECRET.search(folded.text[end : match.start(1)].rstrip(" :=\"'")):
            continue
        value = match[1].rstrip(_CLOSING)
        if _is_key(value, judge, ambiguous=folded.text[start:end].lower() in AMBIGUOUS):
            whole = _BESIDE.match(folded.text, end, end + _LONGEST)
            reached = match.start(1) + len((whole or match)[1].rstrip(_CLOSING))
            yield Span(match.start(1), reached, "api_key", 0.5, "beside_service")


def _is_another_word(text: str, start: int, end: int) -> bool:
    """``revision`` has ``rev`` in it, and is none; ``adobeKey`` and ``adobekey`` are."""
    goes_on = text[end : end + 1].islower() and text[start:end].islower()
    return goes_on and not _GOES_ON.match(text, end)


def _is_key(value: str, judge: Judge, *, ambiguous: bool) -> bool:
    if _PATH.match(value) or (ambiguous and (len(value) < _MIN_BESIDE_A_WORD or _UUID.fullmatch(value))):
        return False
    if ambiguous and _HASH.fullmatch(value):
        return False
    return judge.random(value, least=_LEAST) or is_filler(value) or _in_equal_groups(value)


def _in_equal_groups(value: str) -> bool:
    """``ABCDE12-ABCDE12-ABCDE12-ABCDE12``."""
    return _GROUPS.fullmatch(value) is not None and len({len(group) for group in value.split("-")}) == 1


SERVICE_RULES = (Rule(_SERVICE, service_secrets),)
