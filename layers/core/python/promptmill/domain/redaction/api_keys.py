"""Keys, tokens and private keys: by their issuers' prefixes, or by the words before them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptmill.domain.redaction.spans import Span
from promptmill.domain.redaction.subject import Subject

_BY_PREFIX = (
    r"sk-ant-[A-Za-z0-9_\-]{16,}",  # Anthropic
    r"sk-(?:proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_\-]{20,}",  # OpenAI and those who followed it
    r"(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z2-7]{16}",  # AWS
    r"ABSK[A-Za-z0-9+/]{40,}={0,2}|bedrock-api-key-[A-Za-z0-9+/=]{40,}",  # Amazon Bedrock
    r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}",
    r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat)-[A-Za-z0-9_\-]{20,}",
    r"xox[abeprs]-[A-Za-z0-9\-]{10,}|xapp-\d-[A-Za-z0-9\-]{10,}",
    r"hooks\.slack\.com/services/[A-Za-z0-9/]{20,}",
    r"AIza[A-Za-z0-9_\-]{35}|ya29\.[A-Za-z0-9_\-]{20,}|GOCSPX-[A-Za-z0-9_\-]{20,}",  # Google
    r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9]{20,}",  # Stripe
    r"eyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}(?:\.[A-Za-z0-9_\-]*)?",  # JSON web tokens
    r"hf_[A-Za-z0-9]{30,}|gsk_[A-Za-z0-9]{30,}|xai-[A-Za-z0-9]{40,}|pplx-[A-Za-z0-9]{30,}|r8_[A-Za-z0-9]{30,}",
    r"npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_\-]{40,}|dckr_pat_[A-Za-z0-9_\-]{20,}|dop_v1_[a-f0-9]{64}",
    r"SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}|key-[a-f0-9]{32}|dapi[a-f0-9]{32}",  # SendGrid, Mailgun, Databricks
    r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}|sq0(?:atp|csp)-[A-Za-z0-9_\-]{22,}|lin_api_[A-Za-z0-9]{30,}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{50,}|hv[sb]\.[A-Za-z0-9_\-]{20,}|PMAK-[a-f0-9]{24}-[a-f0-9]{34}",
    r"\d{8,10}:AA[A-Za-z0-9_\-]{32,}",  # Telegram
)
_TOKEN = f"(?:{'|'.join(_BY_PREFIX)})"

_VALUE = r"([A-Za-z0-9_\-./+=~]{16,})"
_BEARER = rf"(?i:bearer|basic|authorization: ?token)\s+{_VALUE}"
_ASSIGNED = (
    r"(?i:(?:api|access|auth|secret|client|private|account|signing|encryption|refresh|session|master|shared|license|subscription)"
    r"[ _.\-]{0,2}(?:access[ _.\-]?)?(?:key|token|secret|password)|secret|token|x-amz-signature|x-amz-security-token)"
    r"[\"'`\]]{0,2}\s{0,4}(?:=>|:=|==|=|:|,| is )\s{0,4}[\"'`]{0,2}" + _VALUE
)
_PRIVATE_KEY = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BODY = re.compile(r"[A-Za-z0-9+/=\s\\:,.()\-]*")
_ONLY_WORDS = re.compile(r"[a-z_\-]+")
_NOT_A_SECRET = re.compile(
    r"(?i)[a-z_.\-]+|[\d.\-]+|(.)\1+|https?://.*|(?:your|example|xxx|my|placeholder|changeme)[_\-].*|/.*"
)


def api_keys(subject: Subject) -> Iterator[Span]:
    for start, end in subject.spans(_TOKEN):
        if not subject.text[start - 1 : start].isalnum() and not _ONLY_WORDS.fullmatch(subject.text[start:end]):
            yield Span(start, end, "api_key", 0.95)
    for pattern in (_BEARER, _ASSIGNED):
        for start, end in subject.spans(pattern, group=1):
            if not _NOT_A_SECRET.fullmatch(subject.text[start:end]):
                yield Span(start, end, "api_key", 0.7)
    if "PRIVATE KEY" in subject.text:
        yield from _private_keys(subject)


def _private_keys(subject: Subject) -> Iterator[Span]:
    """Whole blocks; one that was cut off counts as far as it looks like one."""
    reached = 0
    for start, opened in subject.spans(_PRIVATE_KEY):
        if start < reached:
            continue
        body = _KEY_BODY.match(subject.text, opened)
        reached = body.end() if body else opened
        closed = _KEY_END.search(subject.text, opened, reached)
        reached = closed.end() if closed else reached
        yield Span(start, reached, "api_key", 0.99)
