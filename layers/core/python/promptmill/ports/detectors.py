"""External detectors find sensitive values beside the built-in patterns: a model, a service."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from promptmill.domain.recipe import RedactionPolicy
from promptmill.redaction.spans import Span


class Findings(Struct, frozen=True):
    """The result of one search.

    Attributes:
        spans: places of the text, in any order; they may overlap.
        searches: calls that were made and units that are charged for, by name.
    """

    spans: tuple[Span, ...] = ()
    searches: dict[str, int] = {}


class ExternalDetector(Protocol):
    """Searches texts, and takes its time."""

    async def find(self, text: str, policy: RedactionPolicy) -> Findings:
        """Search a text of any length without blocking the event loop. End soon after being cancelled.

        Raises:
            RetryLaterError: the same search may work later.
            RecordError: the text must not be sent, or can't be searched.
            Exception: whatever it is, nothing is known about the text.
        """
        ...


class ExternalDetectors(Protocol):
    """The external detectors of one process."""

    def detector(self, name: str) -> ExternalDetector:
        """Return a detector by its name in ``redact.engines``. Raise DetectorMissingError if it is not deployed."""
        ...
