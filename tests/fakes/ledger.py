"""The charges table in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from promptmill.domain.charge import Charge, CostCorrection, Spending, spending_of_charge, spending_of_correction
from tests.fakes.failing import FailsOnRequest


class FakeLedger(FailsOnRequest):
    """Both ledger ports; totals are folded from charges and narrowings at each question."""

    def __init__(self) -> None:
        self.charges: dict[tuple[str, int, str], Charge] = {}
        self.narrowings: dict[str, CostCorrection] = {}

    async def record(self, charge: Charge) -> bool:
        place = (charge.unit, charge.epoch, charge.route)
        if place in self.charges:
            return False
        self.charges[place] = charge
        return True

    async def narrow(self, narrowing: CostCorrection) -> bool:
        if narrowing.call_id in self.narrowings:
            return False
        self.narrowings[narrowing.call_id] = narrowing
        return True

    async def charges_of(self, job_id: str) -> AsyncIterator[Charge]:
        for charge in list(self.charges.values()):
            if charge.job_id == job_id:
                yield charge

    async def narrowings_of(self, job_id: str) -> AsyncIterator[CostCorrection]:
        for narrowing in list(self.narrowings.values()):
            if narrowing.job_id == job_id:
                yield narrowing

    async def spending(
        self, by: Literal["day", "model", "recipe"], name: str, *, since: str = "", until: str = ""
    ) -> AsyncIterator[Spending]:
        entries = [
            *map(spending_of_charge, self.charges.values()),
            *map(spending_of_correction, self.narrowings.values()),
        ]
        for entry in entries:
            if getattr(entry, by) == name and (since or "0") <= entry.day <= (until or "9"):
                yield entry
