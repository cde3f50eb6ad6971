"""Find sensitive values with the sensitive information filters of a Bedrock guardrail (ApplyGuardrail)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from promptmill.detectors.aws_calls import ENTITY_TYPES, AwsCalls
from promptmill.detectors.texts import cut_for_service
from promptmill.domain.errors import RecordError
from promptmill.domain.recipe import Guardrail, RedactionPolicy
from promptmill.ports.detectors import Findings
from promptmill.redaction.spans import Span

MAX_CHARACTERS, OVERLAP = 20_000, 500
"""A call takes 20 text units, of the 25 a second that a guardrail takes unless its quota was raised."""
_SENSITIVE = "sensitiveInformationPolicy"
_SCORE = 0.9
"""The score of every span, since a guardrail gives none."""
TYPES: Mapping[str, str] = {
    **ENTITY_TYPES,
    "CREDIT_DEBIT_CARD_NUMBER": "card",
    "US_BANK_ACCOUNT_NUMBER": "bank_account",
    "US_BANK_ROUTING_NUMBER": "routing_number",
    "US_SOCIAL_SECURITY_NUMBER": "us_ssn",
    "US_PASSPORT_NUMBER": "passport",
}
"""Our types by a guardrail's. Whatever is not here is ``other``, and so is what a guardrail's own patterns match."""


class GuardrailDetector:
    """An ``ExternalDetector`` that asks the guardrail of the recipe."""

    def __init__(self, calls: AwsCalls, *, region: str) -> None:
        self._calls, self._region = calls, region

    async def find(self, text: str, policy: RedactionPolicy) -> Findings:
        """Search a text: see ``ExternalDetector``. What the guardrail blocks is refused (``redaction_refused``)."""
        spans, searches = list[Span](), Counter[str]()
        for start, piece in cut_for_service(text, most=MAX_CHARACTERS, overlap=OVERLAP):
            reply = await self._apply(piece, policy.guardrail)
            spans += (
                Span(start + first, start + last, kind, _SCORE, "guardrail")
                for match, kind in _read_matches(reply)
                for first, last in _find_places(match, piece)
            )
            searches["guardrail calls"] += 1
            searches["guardrail units"] += _count_units(reply["usage"])
        return Findings(tuple(spans), dict(searches))

    async def _apply(self, piece: str, guardrail: Guardrail) -> dict[str, Any]:
        region = guardrail.id.split(":")[3] if guardrail.id.startswith("arn:") else self._region
        reply = await self._calls.post(
            f"/guardrail/{quote(guardrail.id, safe='-._~')}/version/{guardrail.version}/apply",
            {"source": "INPUT", "content": [{"text": {"text": piece}}]},
            host=f"bedrock-runtime.{region}.amazonaws.com",
            service="bedrock",
            region=region,
        )
        _check_searched(reply)
        return reply


def _check_searched(reply: dict[str, Any]) -> None:
    """Raise RecordError unless the guardrail looked at the whole text, and for what is sensitive."""
    usage = reply["usage"]
    if not usage.get(f"{_SENSITIVE}Units", 0) + usage.get(f"{_SENSITIVE}FreeUnits", 0):
        raise _failed("it has no filters for sensitive information")
    covered = reply.get("guardrailCoverage", {}).get("textCharacters", {})
    if covered.get("guarded") != covered.get("total"):
        raise _failed("it did not look at the whole text")


def _read_matches(reply: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each text that the guardrail anonymizes, and its type. Raise RecordError if it blocks anything."""
    anonymized = False
    for assessment in reply["assessments"]:
        for policy, found in assessment.items():
            for item in _iterate_items(found):
                if item.get("action") == "BLOCKED":
                    raise _blocked_error(policy)
                if item.get("action") == "ANONYMIZED":
                    anonymized = True
                    yield item["match"], TYPES.get(item.get("type", ""), "other")
    if reply["action"] != "NONE" and not anonymized:
        raise _blocked_error("guardrail")


def _iterate_items(found: Any) -> Iterator[dict[str, Any]]:
    """Yield the entries of all lists of one policy's assessment."""
    for entries in found.values() if isinstance(found, dict) else ():
        yield from (entry for entry in entries if isinstance(entry, dict)) if isinstance(entries, list) else ()


def _find_places(match: str, text: str) -> list[tuple[int, int]]:
    """Return where a match stands: as a word, or else wherever it is.

    Raises:
        RecordError: it stands nowhere, so that it can't be hidden.
    """
    if not match:
        raise _failed("it matched nothing")
    places = []
    at = text.find(match)
    while at >= 0:
        places.append((at, at + len(match)))
        at = text.find(match, at + 1)
    if not places:
        raise _failed("what it matched is not in the text")
    return [place for place in places if _is_word(text, *place)] or places


def _is_word(text: str, start: int, end: int) -> bool:
    before, behind = text[max(0, start - 1) : start + 1], text[end - 1 : end + 1]
    return not (start > 0 and before.isalnum()) and not (end < len(text) and behind.isalnum())


def _count_units(usage: dict[str, int]) -> int:
    """Count the units that are charged for."""
    return sum(count for name, count in usage.items() if name.endswith("PolicyUnits"))


def _blocked_error(policy: str) -> RecordError:
    return RecordError(
        f"the guardrail blocks the record ({policy})",
        code="redaction_refused",
        remedy="take out what the guardrail blocks; the record was not sent",
    )


def _failed(reason: str) -> RecordError:
    return RecordError(
        f"the guardrail can't be relied on: {reason}", code="redaction_failed", remedy="correct the guardrail"
    )
