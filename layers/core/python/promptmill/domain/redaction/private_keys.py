"""Private keys as blocks of PEM or PGP; one that was cut off counts as far as it looks like one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptmill.domain.redaction.rules import Rule
from promptmill.domain.redaction.spans import Span
from promptmill.domain.redaction.subject import Subject

_BEGIN = r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_BODY_CHARS = re.compile(r"[A-Za-z0-9+/=\s\\:,.()@<>\"'\-]*")
_SHORTEST = 24


def private_keys(subject: Subject) -> Iterator[Span]:
    reached = 0
    for start, opened in subject.spans(_BEGIN):
        if start < reached:
            continue
        body = _BODY_CHARS.match(subject.text, opened)
        reached = body.end() if body else opened
        closed = _END.search(subject.text, opened, reached)
        inside = closed.start() if closed else reached
        reached = closed.end() if closed else reached
        if inside - opened >= _SHORTEST or not closed:
            yield Span(start, reached, "private_key", 0.99, "private_key")


PRIVATE_KEY_RULES = (Rule(_BEGIN, private_keys),)
