"""The engine that is always there: patterns, check digits and the words beside a number."""

from __future__ import annotations

from functools import cache

from promptmill.domain.redaction.contacts import CONTACT_RULES
from promptmill.domain.redaction.documents import DOCUMENT_RULES
from promptmill.domain.redaction.identities import IDENTITY_RULES
from promptmill.domain.redaction.numbers import NUMBER_RULES
from promptmill.domain.redaction.phones import PHONE_GATE, phones
from promptmill.domain.redaction.rules import Gate, Rule
from promptmill.domain.redaction.spans import Span, united
from promptmill.domain.redaction.subject import Subject, compiled
from promptmill.domain.redaction.urls import URL_RULES
from promptmill.domain.redaction.wallets import WALLET_RULES

STRUCTURED_RULES: tuple[Rule, ...] = (
    *CONTACT_RULES,
    *URL_RULES,
    *NUMBER_RULES,
    *IDENTITY_RULES,
    *DOCUMENT_RULES,
    *WALLET_RULES,
)


class StructuredEngine:
    """An ``Engine``: personal data and, unless ``secrets`` is off, keys and passwords."""

    def __init__(self, *, secrets: bool = True) -> None:
        self._gate = _gate(secrets=secrets)

    def find(self, text: str) -> list[Span]:
        subject = Subject(text)
        spans = self._gate.find(subject)
        if compiled(PHONE_GATE).search(subject.raw):
            # Telephones come last and see none of that: "020 7946 0958 10.1.2.3" is no number of eighteen digits.
            spans += phones(subject.without(spans) if spans else subject)
        return [subject.original(span) for span in united(spans)]


@cache
def _gate(*, secrets: bool) -> Gate:
    structured = (STRUCTURED_RULES[::2], STRUCTURED_RULES[1::2])
    if not secrets:
        return Gate(*structured)
    from promptmill.domain.redaction.secret_rules import SECRET_GROUPS  # noqa: PLC0415 (only where secrets are looked for)

    return Gate(*SECRET_GROUPS, *structured)
