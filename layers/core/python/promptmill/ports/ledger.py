"""The charges table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol

from promptmill.domain.charge import Charge, Narrowing, Spending


class Ledger(Protocol):
    async def record(self, charge: Charge) -> bool:
        """If absent, with the day's totals moved in the same transaction. False if it was there."""
        ...

    async def narrow(self, narrowing: Narrowing) -> bool:
        """Once a call, with the day's totals moved in the same transaction. False if it was there."""
        ...


class SpendingReader(Protocol):
    def charges_of(self, job_id: str) -> AsyncIterator[Charge]: ...

    def narrowings_of(self, job_id: str) -> AsyncIterator[Narrowing]: ...

    def spending(
        self, by: Literal["day", "model", "recipe"], name: str, *, since: str = "", until: str = ""
    ) -> AsyncIterator[Spending]:
        """One query. ``name``: the day, the model or the recipe; days [since, until] for the last two."""
        ...


class Charges(Ledger, SpendingReader, Protocol):
    """Both sides."""
