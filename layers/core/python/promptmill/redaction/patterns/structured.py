"""The structured detector is always there: patterns, check digits and the words beside a number."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache

from promptmill.redaction.patterns.accounts import ACCOUNT_RULES, WALLET_RULES
from promptmill.redaction.patterns.contacts import CONTACT_RULES, PHONE_GATE, find_phones
from promptmill.redaction.patterns.decoding import DecodedText, find_blobs, holds_encoded
from promptmill.redaction.patterns.folded_text import FoldedText, compile_re2
from promptmill.redaction.patterns.identities import IDENTITY_RULES
from promptmill.redaction.patterns.labelled_values import find_doubts, find_labelled_values
from promptmill.redaction.patterns.labels import find_labels
from promptmill.redaction.patterns.passwords import COMMAND_RULES, PASSWORD_RULES
from promptmill.redaction.patterns.rules import Gate, Rule
from promptmill.redaction.patterns.secret_context import CONTEXT_RULES
from promptmill.redaction.patterns.service_secrets import SERVICE_RULES
from promptmill.redaction.patterns.tables import find_values_in_columns
from promptmill.redaction.patterns.tokens import OPAQUE_RULES, PRIVATE_KEY_RULES, TOKEN_RULES
from promptmill.redaction.patterns.urls import URL_RULES
from promptmill.redaction.spans import Search, Span, unite

SECRET_GROUPS: tuple[tuple[Rule, ...], ...] = (
    TOKEN_RULES,
    (*CONTEXT_RULES, *PASSWORD_RULES),
    (*PRIVATE_KEY_RULES, *SERVICE_RULES, *COMMAND_RULES, *OPAQUE_RULES),
)
SECRET_RULES: tuple[Rule, ...] = tuple(rule for group in SECRET_GROUPS for rule in group)
STRUCTURED_RULES: tuple[Rule, ...] = (
    *CONTACT_RULES,
    *URL_RULES,
    *ACCOUNT_RULES,
    *IDENTITY_RULES,
    *WALLET_RULES,
)


class StructuredDetector:
    """Finds personal data and, unless ``secrets`` is off, keys and passwords."""

    def __init__(self, *, secrets: bool = True) -> None:
        self._gate = _make_gate(secrets=secrets)

    def find(self, text: str) -> list[Span]:
        return self.search(text).spans

    def search(self, text: str) -> Search:
        """Return what is found, and what stands behind labels without being found."""
        folded = FoldedText(text)
        spans = self._find_with_encoded(text, folded)
        return Search(spans, [folded.to_original(doubt) for doubt in find_doubts(folded)])

    def _find_with_encoded(self, text: str, folded: FoldedText) -> list[Span]:
        spans = self._find_plain(folded)
        encoded = list(self._find_encoded(text, spans))
        return unite([*spans, *encoded]) if encoded else spans

    def _find_encoded(self, text: str, found: list[Span]) -> Iterator[Span]:
        if holds_encoded(text):
            decoded = DecodedText(text)
            yield from map(decoded.to_original, self._find_plain(FoldedText(decoded.text)))
        for start, end, plain in find_blobs(text):
            if not any(
                span.start <= start and end <= span.end and span.end - span.start > end - start for span in found
            ):
                for span in self._find_plain(FoldedText(plain))[:1]:
                    yield Span(start, end, span.type, span.score, span.rule)

    def _find_plain(self, folded: FoldedText) -> list[Span]:
        folded.labels = find_labels(folded)
        labelled = [*find_labelled_values(folded), *find_values_in_columns(folded)]
        spans = self._gate.find(folded)
        if labelled:
            spans = [*_give_way(spans, labelled), *labelled]
        # Telephones come last and do not see what was found: "020 7946 0958 10.1.2.3" is no number of eighteen digits.
        if compile_re2(PHONE_GATE).is_in(folded.raw):
            spans += find_phones(folded.blank_out(spans) if spans else folded)
        return [folded.to_original(span) for span in unite(spans)]


_PROVEN = 0.9
_NUMBERS = frozenset(
    ("us_ssn", "national_id", "tax_id", "routing_number", "bank_account", "passport", "driving_licence", "medical_id")
)


def _give_way(spans: list[Span], labelled: list[Span]) -> Iterator[Span]:
    """Yield the spans without numbers that a label calls something else: many numbers pass one check digit or another."""
    places = sorted((span.start, span.end) for span in labelled)
    for span in spans:
        index = bisect_right(places, (span.start, sys.maxsize))
        near = places[max(0, index - 1) : index + 1]
        if span.type in _NUMBERS and span.score < _PROVEN and any(a < span.end and span.start < b for a, b in near):
            continue
        yield span


@cache
def _make_gate(*, secrets: bool) -> Gate:
    # In halves: the states of an automaton multiply with each rule, and the first texts pay for building them.
    structured = (STRUCTURED_RULES[::2], STRUCTURED_RULES[1::2])
    return Gate(*SECRET_GROUPS, *structured) if secrets else Gate(*structured)
