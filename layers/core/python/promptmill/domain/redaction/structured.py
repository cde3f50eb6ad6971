"""The engine that is always there: patterns, check digits and the words beside a number."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from promptmill.domain.redaction.api_keys import api_keys
from promptmill.domain.redaction.contacts import emails, ip_addresses, url_credentials
from promptmill.domain.redaction.numbers import cards, ibans, social_security_numbers
from promptmill.domain.redaction.phones import phones
from promptmill.domain.redaction.spans import Span, united
from promptmill.domain.redaction.subject import Subject

_DIGIT = re.compile("[0-9]")
_RULES: tuple[Callable[[Subject], Iterator[Span]], ...] = (api_keys, url_credentials, emails)
_RULES_FOR_DIGITS: tuple[Callable[[Subject], Iterator[Span]], ...] = (
    ibans,
    cards,
    social_security_numbers,
    ip_addresses,
)


class StructuredEngine:
    """An ``Engine``."""

    def find(self, text: str) -> list[Span]:
        subject = Subject(text)
        spans = [span for rule in _RULES for span in rule(subject)]
        if _DIGIT.search(subject.text):
            spans += [span for rule in _RULES_FOR_DIGITS for span in rule(subject)]
            # Telephones come last and see none of that: "020 7946 0958 10.1.2.3" is no number of eighteen digits.
            spans += phones(subject.without(spans) if spans else subject)
        return united(spans)
