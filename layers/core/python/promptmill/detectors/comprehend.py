"""Find sensitive values with Amazon Comprehend (DetectPiiEntities)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from promptmill.detectors.aws_calls import ENTITY_TYPES, AwsCalls
from promptmill.detectors.texts import cut_for_service
from promptmill.domain.recipe import RedactionPolicy
from promptmill.ports.detectors import Findings
from promptmill.redaction.spans import Span

MAX_CHARACTERS, OVERLAP = 30_000, 500
"""A call takes 100 KB at most, and after ``replace_unsearchable`` a character has three bytes at most."""
_UNIT, _MIN_UNITS = 100, 3
_HEADERS = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Comprehend_20171127.DetectPiiEntities"}
_IGNORED = frozenset({"DATE_TIME", "AGE"})
"""Comprehend reports every date and every number of years. Without them, next to nothing would be left of a text."""
TYPES: Mapping[str, str] = {
    **ENTITY_TYPES,
    "CREDIT_DEBIT_NUMBER": "card",
    "BANK_ACCOUNT_NUMBER": "bank_account",
    "BANK_ROUTING": "routing_number",
    "SSN": "us_ssn",
    "PASSPORT_NUMBER": "passport",
    "IN_AADHAAR": "national_id",
    "IN_NREGA": "national_id",
    "IN_VOTER_NUMBER": "national_id",
    "IN_PERMANENT_ACCOUNT_NUMBER": "tax_id",
}
"""Our types by Comprehend's. Whatever is not here is ``other``."""


class ComprehendDetector:
    """An ``ExternalDetector`` that asks Amazon Comprehend."""

    def __init__(self, calls: AwsCalls, *, region: str) -> None:
        self._calls, self._region = calls, region

    async def find(self, text: str, policy: RedactionPolicy) -> Findings:
        """Search a text: see ``ExternalDetector``."""
        spans, searches = list[Span](), Counter[str]()
        for start, piece in cut_for_service(text, most=MAX_CHARACTERS, overlap=OVERLAP):
            found = await self._detect(piece, policy.language)
            spans += _read_spans(found, start, len(piece))
            searches["comprehend calls"] += 1
            searches["comprehend units"] += max(_MIN_UNITS, -(-len(piece) // _UNIT))
        return Findings(tuple(spans), dict(searches))

    async def _detect(self, piece: str, language: str) -> list[dict[str, Any]]:
        reply = await self._calls.post(
            "/",
            {"Text": piece, "LanguageCode": language},
            host=f"comprehend.{self._region}.amazonaws.com",
            service="comprehend",
            region=self._region,
            headers=_HEADERS,
        )
        entities: list[dict[str, Any]] = reply["Entities"]
        return entities


def _read_spans(entities: list[dict[str, Any]], at: int, length: int) -> Iterator[Span]:
    """Yield the spans of a piece that begins ``at`` a place of the text.

    Raises:
        ValueError, KeyError, TypeError: the reply is not what the service promises.
    """
    for entity in entities:
        start, end, kind, score = entity["BeginOffset"], entity["EndOffset"], entity["Type"], float(entity["Score"])
        if not 0 <= start < end <= length:
            raise ValueError("an entity lies outside of its text")
        if kind not in _IGNORED:
            yield Span(at + start, at + end, TYPES.get(kind, "other"), round(score, 3), "comprehend")
