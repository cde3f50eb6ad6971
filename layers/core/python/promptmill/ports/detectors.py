"""What finds sensitive values beside the patterns that are built in: a model, a service."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from promptmill.domain.recipe import RedactionPolicy
from promptmill.redaction.spans import Span


class Findings(Struct, frozen=True):
    """Of one text.

    Attributes:
        spans: in any order; they may overlap.
        searches: what it took, by name: calls, and units that are charged for.
    """

    spans: tuple[Span, ...] = ()
    searches: dict[str, int] = {}


class ExternalDetector(Protocol):
    async def find(self, text: str, policy: RedactionPolicy) -> Findings:
        """Of a text of any length; slow, but never in the event loop's way. Ends soon after it is cancelled.

        Raises:
            RetryLaterError: it could not say yet.
            RecordError: the text must not be sent, or can't be searched.
            Exception: whatever it is, nothing is known about the text.
        """
        ...


class ExternalDetectors(Protocol):
    """Those of one process."""

    def detector(self, engine: str) -> ExternalDetector:
        """By the name that recipes call it by. Raises DetectorMissingError."""
        ...
