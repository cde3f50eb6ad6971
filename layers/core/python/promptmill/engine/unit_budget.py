"""The unit budget: what a unit may still spend. It is what the budgets granted, less what its calls use or may use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct, structs

from promptmill.domain.budget import BudgetLine, keys_of
from promptmill.domain.errors import SupersededError
from promptmill.domain.units import Claim, Gate, Intent, Verdict, call_id
from promptmill.engine.journal import Page
from promptmill.engine.unit import Unit, UnitRuntime
from promptmill.ports.units import UnitBudgets


class ShutError(Exception):
    """The run's gates are shut: it was stopped or cancelled, and may write no further intent."""


class UnitBudget:
    """The budget of one unit in one epoch. Without lines nothing is counted, and every call can be paid for.

    Nothing of it is stored but the claim's ``granted``: what is used follows from intents and journals, so a crash can
    leave nothing half moved.

    Args:
        used: nano-dollars that the calls of earlier epochs count for; an unknown cost counts at its most.

    Attributes:
        claim: as last known; its ``granted`` follows what is asked for here.
        day: the day that its calls count for, even once midnight has passed.
        lines: the budgets that it counts against.
        short: the key of the budget that refused last, "" if none did.
        lacking: the nano-dollars of the call that it refused to pay for.
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
        self.lacking = 0
        self.day = day
        self._unit, self._gate, self._units = unit, gate, units
        self._used = used
        # What a unit that holds nothing has spent is either settled, or was spent while no budget was in force: then no
        # budget that is set later has to pay for it. The next grant adds it to the claim's ``granted``, and takes it from
        # no budget, so that later owners find it paid.
        self._unpaid = 0 if claim.holds else used - claim.granted
        self._highs: dict[str, int] = {}

    @property
    def counts(self) -> bool:
        """True if there is a budget at all."""
        return bool(self.lines)

    @property
    def free(self) -> int:
        """The nano-dollars that no call uses or may use. An owner of earlier epochs may have left it below 0."""
        return self.claim.granted + self._unpaid - self._used

    async def fund(self, least: int, wanted: int) -> bool:
        """Make sure that ``least`` is free, and ask for up to ``wanted`` if it is not. Return False if it is refused.

        Only one of these may run at a time.

        Raises:
            SupersededError, ShutError: nothing may be sent any more.
        """
        if not self.counts or self.free >= least:
            return True
        # Little by little would cost a transaction a group, so more is asked for; where that much is not left, the least
        # that helps is asked for before anybody has to wait.
        for amount in dict.fromkeys((max(wanted, least) - self.free, least - self.free)):
            if await self._grant(amount):
                return True
        self.lacking = least
        return False

    def can_ever_hold(self, amount: int) -> bool:
        """Return True if the budgets could pay for the amount if nothing else were spent."""
        return all(amount <= line.limit for line in self.lines)

    def intend(self, epoch: int, intents: Iterable[Intent]) -> None:
        """Count the most that the intents can cost as used; to be called before they are written."""
        for intent in intents:
            high = intent.high or 0
            self._highs[call_id(self._unit, epoch, intent.sequence)] = high
            self._used += high

    def release(self, epoch: int, page: Page) -> None:
        """Count calls at the cost that a durable page gives for them. Calls with an unknown cost stay at their most."""
        for attempt in page.attempts:
            actual = attempt.price.nano_usd
            if actual is not None:
                self._used -= self._highs.get(attempt.call_id, actual) - actual
        for sequence in page.voids:
            self._used -= self._highs.get(call_id(self._unit, epoch, sequence), 0)

    async def give_back(self) -> None:
        """Give all that is free back to the budgets that it came from. Raises SupersededError."""
        if not self.claim.holds:
            return
        # Also with nothing free: who is counted among the holders keeps other units waiting for money that is not there.
        # What calls have cost above what was granted counts in the same budgets.
        amount = self.free
        if not await self._units.give_back(self._unit, self.claim, amount, lines=self.lines):
            raise SupersededError("another worker owns this unit")
        granted = self.claim.granted - amount
        self._unpaid = self._used - granted
        self.claim = structs.replace(self.claim, granted=granted, day="", holds=False, lines=())

    async def decide(self, verdict: Verdict) -> None:
        """Write the verdict, and give back what is free in the same transaction. Raises SupersededError."""
        used = self.claim.granted - self.free
        if not await self._units.decide(self._unit, self.claim, verdict, used=used, lines=self.lines):
            raise SupersededError("another worker owns this unit")
        self.claim = structs.replace(self.claim, verdict=verdict, granted=used, day="", holds=False, lines=())

    async def _grant(self, amount: int) -> bool:
        unpaid = self._unpaid
        grant = await self._units.grant(
            self._unit, self.claim, amount, unpaid=unpaid, day=self.day, lines=self.lines, gate=self._gate
        )
        match grant.verdict:
            case "granted":
                granted, self._unpaid = self.claim.granted + unpaid + amount, 0
                lines = keys_of(self.lines)
                self.claim = structs.replace(self.claim, granted=granted, day=self.day, holds=True, lines=lines)
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
    """The end or the pause of a unit that cannot go on now: it ends with ``code``, or waits ``delay_s`` for what ``why`` says."""

    code: str = ""
    delay_s: int = 0
    why: str = ""


async def decide_without_money(unit: Unit, unit_budget: UnitBudget, *, runtime: UnitRuntime) -> Wait:
    """Decide whether a unit ends or waits whose budgets have refused to pay for one call."""
    await unit_budget.give_back()
    line = next(line for line in unit_budget.lines if line.key == unit_budget.short)
    # What is granted grows while nobody holds any of it, so what is found spent here stays spent, whoever draws meanwhile.
    state = await runtime.units.budget(line.key)
    if state.holders:  # their unspent money comes back: a budget is spent only once nobody holds any of it
        return Wait(delay_s=_SOON_S, why="money that other chunks hold")
    if state.granted + unit_budget.lacking <= line.limit:  # it came back between the refusal and this look
        return Wait(why="money that came back")
    code = "budget_spent" if line.lasting else "day_spent"
    waits = not line.lasting and unit.recipe.budget.when_day_spent == "wait"
    if await unit.ends_without_money(code, waits=waits):
        return Wait(code=await unit.stop_code() or code)  # somebody may have stopped the run before for another reason
    return Wait(delay_s=_LATER_S, why="the next day's budget")
