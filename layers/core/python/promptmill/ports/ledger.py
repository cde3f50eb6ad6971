"""The charges table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal, Protocol

from promptmill.domain.charge import Charge, CostCorrection, Spending
from promptmill.domain.completion import Usage
from promptmill.domain.pricing import Rates
from promptmill.domain.recipe import Route
from promptmill.domain.record import Price


class Ledger(Protocol):
    async def record(self, charge: Charge) -> bool:
        """If absent, with the day's totals moved in the same transaction. False if it was there."""
        ...

    async def narrow(self, narrowing: CostCorrection) -> bool:
        """Once a call, with the day's totals moved in the same transaction. False if it was there."""
        ...


class SpendingReader(Protocol):
    def charges_of(self, job_id: str) -> AsyncIterator[Charge]: ...

    def narrowings_of(self, job_id: str) -> AsyncIterator[CostCorrection]: ...

    def spending(
        self, by: Literal["day", "model", "recipe"], name: str, *, since: str = "", until: str = ""
    ) -> AsyncIterator[Spending]:
        """One query. ``name``: the day, the model or the recipe; days [since, until] for the last two."""
        ...


class Charges(Ledger, SpendingReader, Protocol):
    """Both sides."""


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
