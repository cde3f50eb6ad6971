"""The charges table, and what calls cost."""

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
        """Write a charge and move the day's totals in the same transaction. Return False if it was there already."""
        ...

    async def narrow(self, narrowing: CostCorrection) -> bool:
        """Correct the cost of a call once, and move the day's totals in the same transaction.

        Returns:
            False if the call was corrected already.
        """
        ...


class SpendingReader(Protocol):
    def charges_of(self, job_id: str) -> AsyncIterator[Charge]: ...

    def narrowings_of(self, job_id: str) -> AsyncIterator[CostCorrection]: ...

    def spending(
        self, by: Literal["day", "model", "recipe"], name: str, *, since: str = "", until: str = ""
    ) -> AsyncIterator[Spending]:
        """Read what was spent on a day, a model or a recipe (``name``), in one query.

        For a model or a recipe, ``since`` and ``until`` are the first and the last day.
        """
        ...


class PriceBook(Protocol):
    @property
    def version(self) -> str: ...

    def price(self, route: Route, usage: Usage, *, model: str, at: datetime) -> Price:
        """Return what one attempt costs, None if it is unknown. ``model`` is the one that answered, "" if unknown."""
        ...

    def price_in_batch(self, route: Route, usage: Usage, *, model: str, at: datetime) -> Price:
        """Return what one line of a batch costs, as ``price`` does for a call. Where no discount is known it is unknown."""
        ...

    def knows(self, route: Route, *, at: datetime) -> bool:
        """Return whether a price can be given at all."""
        ...

    def rates(self, route: Route, *, model: str, at: datetime) -> Rates | None:
        """Return USD per million tokens of a short prompt, or None where the price is unknown, or not by tokens."""
        ...

    def context_window(self, route: Route, *, at: datetime) -> int | None:
        """Return the model's context window in tokens, or None where it is unknown."""
        ...
