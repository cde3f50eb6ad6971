"""The charges table in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from promptmill.domain.charge import Charge, Spending


class FakeLedger:
    """Both ledger ports; totals are folded from the charges at each question."""

    def __init__(self) -> None:
        self.charges: dict[tuple[str, int, str], Charge] = {}

    async def record(self, charge: Charge) -> bool:
        place = (charge.unit, charge.epoch, charge.route)
        if place in self.charges:
            return False
        self.charges[place] = charge
        return True

    async def charges_of(self, job_id: str) -> AsyncIterator[Charge]:
        for charge in list(self.charges.values()):
            if charge.job_id == job_id:
                yield charge

    async def spending(
        self, by: Literal["day", "model", "recipe"], name: str, *, since: str = "", until: str = ""
    ) -> AsyncIterator[Spending]:
        for charge in self.charges.values():
            if getattr(charge, by) == name and (since or "0") <= charge.day <= (until or "9"):
                yield Spending(
                    nano_usd=charge.nano_usd,
                    attempts=charge.attempts,
                    failed_attempts=charge.failed_attempts,
                    unpriced=charge.unpriced,
                    input_tokens=charge.input_tokens,
                    output_tokens=charge.output_tokens,
                    day=charge.day,
                    model=charge.model,
                    recipe=charge.recipe,
                    route=charge.route,
                )
