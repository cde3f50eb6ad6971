"""Redaction: what must not leave is found, replaced by placeholders, and put back into the answer."""

from __future__ import annotations

from promptmill.redaction.redact import DETECTOR_VERSION, Redacted, redact_request, searched_text
from promptmill.redaction.restore import restore_completion, unrestored
from promptmill.redaction.spans import ALL_TYPES, KNOWN_TYPES, NER_TYPES, Detector, RedactionType, Span

__all__ = [
    "ALL_TYPES",
    "DETECTOR_VERSION",
    "KNOWN_TYPES",
    "NER_TYPES",
    "Detector",
    "Redacted",
    "RedactionType",
    "Span",
    "redact_request",
    "restore_completion",
    "searched_text",
    "unrestored",
]
