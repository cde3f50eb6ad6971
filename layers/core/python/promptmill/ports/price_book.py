"""Prices."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from promptmill.domain.completion import Usage
from promptmill.domain.pricing import Rates
from promptmill.domain.recipe import Route
from promptmill.domain.record import Price


class ModelFacts(Protocol):
    """What is known of a route's model before it is called."""

    def rates(self, route: Route, *, model: str, at: datetime) -> Rates | None:
        """USD per million tokens of a short prompt; None where the price is unknown, or not by tokens."""
        ...

    def context_window(self, route: Route, *, at: datetime) -> int | None:
        """Tokens; None where it is unknown."""
        ...


class PriceBook(Protocol):
    @property
    def version(self) -> str: ...

    def price(self, route: Route, usage: Usage, *, model: str, at: datetime) -> Price:
        """What one attempt costs. ``model`` is the one that answered, "" if unknown. An unknown price is None."""
        ...

    def knows(self, route: Route, *, at: datetime) -> bool:
        """Whether a price can be given at all."""
        ...
