"""Why something was taken for a value, in words for a person."""

from __future__ import annotations

from promptmill.redaction.spans import Span

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


def reason_of(span: Span) -> str:
    """A sentence without the value."""
    if span.rule in _REASONS:
        return _REASONS[span.rule]
    if span.rule.endswith("_named"):
        return f"a number behind a word for it ({span.rule.removesuffix('_named')})"
    if span.type == "api_key":
        return f"the form of a key of {span.rule}"
    return f"the form, check digits or words of {span.rule}"
