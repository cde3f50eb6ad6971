"""Prices."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from promptmill.domain.completion import Usage
from promptmill.domain.recipe import Route
from promptmill.domain.record import Price


class PriceBook(Protocol):
    @property
    def version(self) -> str: ...

    def price(self, route: Route, usage: Usage, *, model: str, at: datetime) -> Price:
        """What one attempt costs. ``model`` is the one that answered, "" if unknown. An unknown price is None."""
        ...

    def knows(self, route: Route, *, at: datetime) -> bool:
        """Whether a price can be given at all."""
        ...
