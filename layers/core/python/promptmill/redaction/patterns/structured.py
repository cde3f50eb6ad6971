"""The engine that is always there: patterns, check digits and the words beside a number."""

from __future__ import annotations

from functools import cache

from promptmill.redaction.patterns.command_lines import COMMAND_RULES
from promptmill.redaction.patterns.contacts import CONTACT_RULES
from promptmill.redaction.patterns.documents import DOCUMENT_RULES
from promptmill.redaction.patterns.folded_text import FoldedText, compiled
from promptmill.redaction.patterns.identities import IDENTITY_RULES
from promptmill.redaction.patterns.numbers import NUMBER_RULES
from promptmill.redaction.patterns.opaque_tokens import OPAQUE_RULES
from promptmill.redaction.patterns.passwords import PASSWORD_RULES
from promptmill.redaction.patterns.phones import PHONE_GATE, phones
from promptmill.redaction.patterns.rules import Gate, Rule
from promptmill.redaction.patterns.secret_context import CONTEXT_RULES
from promptmill.redaction.patterns.service_secrets import SERVICE_RULES
from promptmill.redaction.patterns.tokens import PRIVATE_KEY_RULES, TOKEN_RULES
from promptmill.redaction.patterns.urls import URL_RULES
from promptmill.redaction.patterns.wallets import WALLET_RULES
from promptmill.redaction.spans import Span, united

SECRET_GROUPS: tuple[tuple[Rule, ...], ...] = (
    TOKEN_RULES,
    (*CONTEXT_RULES, *PASSWORD_RULES),
    (*PRIVATE_KEY_RULES, *SERVICE_RULES, *COMMAND_RULES, *OPAQUE_RULES),
)
"""Grouped so that no automaton grows large."""
SECRET_RULES: tuple[Rule, ...] = tuple(rule for group in SECRET_GROUPS for rule in group)


STRUCTURED_RULES: tuple[Rule, ...] = (
    *CONTACT_RULES,
    *URL_RULES,
    *NUMBER_RULES,
    *IDENTITY_RULES,
    *DOCUMENT_RULES,
    *WALLET_RULES,
)


class StructuredDetector:
    """An ``Engine``: personal data and, unless ``secrets`` is off, keys and passwords."""

    def __init__(self, *, secrets: bool = True) -> None:
        self._gate = _gate(secrets=secrets)

    def find(self, text: str) -> list[Span]:
        folded = FoldedText(text)
        spans = self._gate.find(folded)
        if compiled(PHONE_GATE).search(folded.raw):
            # Telephones come last and see none of that: "020 7946 0958 10.1.2.3" is no number of eighteen digits.
            spans += phones(folded.without(spans) if spans else folded)
        return [folded.original(span) for span in united(spans)]


@cache
def _gate(*, secrets: bool) -> Gate:
    structured = (STRUCTURED_RULES[::2], STRUCTURED_RULES[1::2])
    if not secrets:
        return Gate(*structured)

    return Gate(*SECRET_GROUPS, *structured)
