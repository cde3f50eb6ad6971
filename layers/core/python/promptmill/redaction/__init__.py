"""Redaction finds what must not leave, sends placeholders in its place and puts the values back into the answer."""

from __future__ import annotations

from promptmill.redaction.policy import DETECTOR_VERSION
from promptmill.redaction.redact import Redacted, collect_text, count_unrestored, redact_request, restore_completion
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
    "collect_text",
    "count_unrestored",
    "redact_request",
    "restore_completion",
]
