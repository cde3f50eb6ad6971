"""Redact texts and documents for people, and tell them what was found, where and why."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.recipe import RedactionPolicy
from promptmill.redaction.hiding import Hider, Repeats
from promptmill.redaction.placeholders import Placeholders, find_slots
from promptmill.redaction.policy import make_detector, select_doubts, select_spans
from promptmill.redaction.redact import redact_request
from promptmill.redaction.spans import Detector, Span, unite


class RedactedText(Struct, frozen=True):
    """A redacted text. ``spans`` are places in the text as it was before, ``doubts`` those behind labels that stayed."""

    text: str
    spans: tuple[Span, ...]
    counts: dict[str, int]
    doubts: tuple[Span, ...] = ()


def redact_text(text: str, policy: RedactionPolicy, others: Detector | None = None) -> RedactedText:
    """Redact a text as a prompt would be redacted.

    ``others``: see ``make_detector``. Whatever a detector raises passes through: nothing is known about the text then.
    """
    search = make_detector(policy, others).search(text)
    spans = select_spans(search.spans, text, policy)
    values = {text[span.start : span.end]: span.type for span in spans}
    repeats = Repeats(values)
    if values:
        found = {at for span in spans for at in range(span.start, span.end)}
        spans = unite([*spans, *(span for span in repeats.find(text) if found.isdisjoint(range(span.start, span.end)))])
    hider = Hider(repeats, Placeholders(find_slots([text], set(values.values())), policy.actions, policy.salt))
    doubts = select_doubts(search, spans, policy)
    return RedactedText(hider.hide(text, spans), tuple(spans), dict(hider.counts), tuple(doubts))


def redact_document(
    document: dict[str, Any], policy: RedactionPolicy, others: Detector | None = None
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return a request body of any shape with its leaves redacted, and the number of replacements by type.

    Keys stay as they are.

    Raises:
        RecordError: the document can't be made safe.
    """
    redacted = redact_request(CompletionRequest(messages=(), native=document), policy, others)
    return redacted.request.native, redacted.counts


_REASONS = {
    "email": "the form of an e-mail address",
    "ipv4": "four bytes of an address",
    "ipv6": "a valid IPv6 address",
    "card": "an issuer's prefix and a valid check digit",
    "iban": "a country's length and valid check digits",
    "ssn_us": "the form of a US social security number",
    "phone": "the form of a telephone number, or a word for one beside it",
    "phone_us": "the form of a North American number",
    "url": "a web address outside of code",
    "host": "the name of a web site",
    "named_secret": "a random word behind a word for a secret",
    "beside_service": "a random word behind the name of a service",
    "header": "a random word in an authorization header",
    "bearer": "a random word behind Bearer",
    "password": "what stands behind a word for a password",
    "private_key": "the marks of a private key",
    "url_credentials": "a user and a password in a URL",
    "birthday": "a date behind a word for birth",
    "rampart": "a name or a place, by the model of the detector ner",
    "comprehend": "what Amazon Comprehend says",
    "guardrail": "what the guardrail says",
    "": "the same value was found elsewhere in the text",
}


def explain_span(span: Span) -> str:
    """Say why something was taken for a value, in words for a person and without the value."""
    if span.rule in _REASONS:
        return _REASONS[span.rule]
    if span.rule.startswith("labelled"):
        return "what stands behind a label for it, or below a heading"
    if span.rule.endswith("_named"):
        return f"a number behind a word for it ({span.rule.removesuffix('_named')})"
    if span.type == "api_key":
        return f"the form of a key of {span.rule}"
    return f"the form, check digits or words of {span.rule}"
