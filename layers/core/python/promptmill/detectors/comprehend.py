"""Amazon Comprehend's DetectPiiEntities as an ``ExternalDetector``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from promptmill.detectors.aws_calls import AwsCalls
from promptmill.detectors.texts import searched
from promptmill.domain.recipe import RedactionPolicy
from promptmill.ports.detectors import Findings
from promptmill.redaction.spans import Span

MAX_CHARACTERS, OVERLAP = 30_000, 500
"""Of a call: the limit is 100 KB, and after ``plain`` a character has at most three bytes."""
_UNIT, _MIN_UNITS = 100, 3
_HEADERS = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Comprehend_20171127.DetectPiiEntities"}
_IGNORED = frozenset({"DATE_TIME", "AGE"})
"""Every date and every number of years: next to nothing would be left."""
TYPES: Mapping[str, str] = {
    "NAME": "person",
    "ADDRESS": "address",
    "EMAIL": "email",
    "PHONE": "phone",
    "URL": "url",
    "IP_ADDRESS": "ip",
    "MAC_ADDRESS": "mac",
    "PASSWORD": "password",
    "PIN": "password",
    "AWS_ACCESS_KEY": "api_key",
    "AWS_SECRET_KEY": "api_key",
    "CREDIT_DEBIT_NUMBER": "card",
    "INTERNATIONAL_BANK_ACCOUNT_NUMBER": "iban",
    "BANK_ACCOUNT_NUMBER": "bank_account",
    "BANK_ROUTING": "routing_number",
    "SSN": "us_ssn",
    "PASSPORT_NUMBER": "passport",
    "DRIVER_ID": "driving_licence",
    "CA_SOCIAL_INSURANCE_NUMBER": "national_id",
    "IN_AADHAAR": "national_id",
    "IN_NREGA": "national_id",
    "IN_VOTER_NUMBER": "national_id",
    "UK_NATIONAL_INSURANCE_NUMBER": "national_id",
    "IN_PERMANENT_ACCOUNT_NUMBER": "tax_id",
    "UK_UNIQUE_TAXPAYER_REFERENCE_NUMBER": "tax_id",
    "US_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER": "tax_id",
    "CA_HEALTH_NUMBER": "medical_id",
    "UK_NATIONAL_HEALTH_SERVICE_NUMBER": "medical_id",
}
"""Whatever is not here is ``other``."""


class ComprehendDetector:
    def __init__(self, calls: AwsCalls, *, region: str) -> None:
        self._calls, self._region = calls, region

    async def find(self, text: str, policy: RedactionPolicy) -> Findings:
        """See ports/entity_finder.py."""
        spans, searches = list[Span](), Counter[str]()
        for start, piece in searched(text, most=MAX_CHARACTERS, overlap=OVERLAP):
            found = await self._detect(piece, policy.language)
            spans += _spans(found, start, len(piece))
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


def _spans(entities: list[dict[str, Any]], at: int, length: int) -> Iterator[Span]:
    """Offsets are characters of the piece. Raises ValueError, KeyError or TypeError: not what the service promises."""
    for entity in entities:
        start, end, kind, score = entity["BeginOffset"], entity["EndOffset"], entity["Type"], float(entity["Score"])
        if not 0 <= start < end <= length:
            raise ValueError("an entity lies outside of its text")
        if kind not in _IGNORED:
            yield Span(at + start, at + end, TYPES.get(kind, "other"), round(score, 3), "comprehend")
