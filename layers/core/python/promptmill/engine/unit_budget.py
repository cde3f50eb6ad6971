"""What a unit may still spend: granted by the budgets, less what its calls use or may use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct, structs

from promptmill.domain.budget import BudgetLine
from promptmill.domain.errors import SupersededError
from promptmill.domain.units import Claim, Gate, Intent, Verdict, call_id
from promptmill.engine.journal import Page
from promptmill.engine.unit import Unit, UnitRuntime
from promptmill.ports.units import UnitBudgets


class ShutError(Exception):
    """The run's gates are shut."""


class UnitBudget:
    """Of one unit in one epoch. Without lines nothing is counted, and nothing is short.

    Args:
        used: nano-dollars of earlier epochs' calls, what is unknown at its most.

    Attributes:
        claim: as last known; its ``granted`` follows what is asked for here.
        day: that its calls count for, also once midnight has passed.
        lines: the budgets that it counts against.
        short: key of the budget that refused last, "" if none did.
    """

    def __init__(
        self,
        unit: str,
        claim: Claim,
        *,
        day: str,
        lines: Sequence[BudgetLine],
        gate: Gate | None,
        used: int,
        units: UnitBudgets,
    ) -> None:
        self.claim, self.short, self.lines = claim, "", tuple(lines)
        self.day = day
        self._unit, self._gate, self._units = unit, gate, units
        self._used = used
        self._highs: dict[str, int] = {}

    @property
    def counts(self) -> bool:
        """Whether there is a budget at all."""
        return bool(self.lines)

    @property
    def free(self) -> int:
        return self.claim.granted - self._used

    async def fund(self, least: int, wanted: int) -> bool:
        """Whether ``least`` is free now; up to ``wanted`` is asked for if it is not. One at a time.

        Raises:
            SupersededError, ShutError: nothing may be sent any more.
        """
        if not self.counts or self.free >= least:
            return True
        for amount in dict.fromkeys((max(wanted, least) - self.free, least - self.free)):
            if await self._grant(amount):
                return True
        return False

    def can_ever_hold(self, amount: int) -> bool:
        """Whether the budgets would hold as much if nothing else were spent."""
        return all(amount <= line.limit for line in self.lines)

    def intend(self, epoch: int, intents: Iterable[Intent]) -> None:
        """Their most counts as used from before they are written."""
        for intent in intents:
            high = intent.high or 0
            self._highs[call_id(self._unit, epoch, intent.sequence)] = high
            self._used += high

    def release(self, epoch: int, page: Page) -> None:
        """What a durable page tells narrows what its calls use."""
        for attempt in page.attempts:
            actual = attempt.price.nano_usd
            if actual is not None:
                self._used -= self._highs.get(attempt.call_id, actual) - actual
        for sequence in page.voids:
            self._used -= self._highs.get(call_id(self._unit, epoch, sequence), 0)

    async def give_back(self) -> None:
        """All that is free, to the budgets that it came from. Raises SupersededError."""
        amount = self.free
        if amount <= 0 and not self.claim.holds:
            return
        if not await self._units.give_back(self._unit, self.claim, max(0, amount), lines=self.lines):
            raise SupersededError("another worker owns this unit")
        self.claim = structs.replace(self.claim, granted=self.claim.granted - max(0, amount), day="", holds=False)

    async def decide(self, verdict: Verdict) -> None:
        """Raises SupersededError."""
        if not await self._units.decide(self._unit, self.claim, verdict, used=self._used, lines=self.lines):
            raise SupersededError("another worker owns this unit")
        granted = self._used if self.counts else self.claim.granted
        self.claim = structs.replace(self.claim, verdict=verdict, granted=granted, day="", holds=False)

    async def _grant(self, amount: int) -> bool:
        grant = await self._units.grant(self._unit, self.claim, amount, day=self.day, lines=self.lines, gate=self._gate)
        match grant.verdict:
            case "granted":
                granted = self.claim.granted + amount
                self.claim = structs.replace(self.claim, granted=granted, day=self.day, holds=True)
                return True
            case "short":
                self.short = grant.short
                return False
            case "shut":
                raise ShutError
            case _:
                raise SupersededError("another worker owns this unit")


_SOON_S = 30
_LATER_S = 900


class Wait(Struct, frozen=True):
    """End with ``code``, or wait ``delay_s`` for what ``why`` says."""

    code: str = ""
    delay_s: int = 0
    why: str = ""


async def decide_without_money(unit: Unit, unit_budget: UnitBudget, *, runtime: UnitRuntime) -> Wait:
    """Others may hold money that comes back: then it is worth waiting. If nobody does, a budget that lasts is spent."""
    await unit_budget.give_back()
    line = next(line for line in unit_budget.lines if line.key == unit_budget.short)
    state = await runtime.units.budget(line.key)
    if state.holders:
        return Wait(delay_s=_SOON_S, why="money that other chunks hold")
    code = "budget_spent" if line.lasting else "day_spent"
    waits = not line.lasting and unit.recipe.budget.when_day_spent == "wait"
    if await unit.ends_without_money(code, waits=waits):
        return Wait(code=code)
    return Wait(delay_s=_LATER_S, why="the next day's budget")
