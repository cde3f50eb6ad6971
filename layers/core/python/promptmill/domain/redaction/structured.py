"""The engine that is always there: patterns, check digits and the words beside a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from promptmill.domain.redaction.api_keys import api_keys
from promptmill.domain.redaction.contacts import emails, ip_addresses, url_credentials
from promptmill.domain.redaction.numbers import cards, ibans, social_security_numbers
from promptmill.domain.redaction.phones import phones
from promptmill.domain.redaction.spans import Span, united
from promptmill.domain.redaction.subject import Subject

ENGINE_VERSION = "structured-1"
"""Changes whenever the same text may give other spans; a job's manifest holds it."""

_RULES: tuple[Callable[[Subject], Iterator[Span]], ...] = (api_keys, url_credentials, emails, ibans)
_NUMBER_RULES: tuple[Callable[[Subject], Iterator[Span]], ...] = (cards, social_security_numbers, ip_addresses, phones)
_FEWEST_DIGITS_OR_COLONS = 2


class StructuredEngine:
    """An ``Engine``."""

    def find(self, text: str) -> list[Span]:
        subject = Subject(text)
        return united(span for rule in (*_RULES, *_NUMBER_RULES) for span in rule(subject))
