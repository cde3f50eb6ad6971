"""What to do once the budgets refuse even one more call."""

from __future__ import annotations

from msgspec import Struct

from promptmill.workflows.units.purse import Purse
from promptmill.workflows.units.unit import Engine, Unit

_SOON_S = 30
_LATER_S = 900


class Broke(Struct, frozen=True):
    """End with ``code``, or wait ``delay_s`` for what ``why`` says."""

    code: str = ""
    delay_s: int = 0
    why: str = ""


async def out_of_money(unit: Unit, purse: Purse, *, engine: Engine) -> Broke:
    """Others may hold money that comes back: then it is worth waiting. If nobody does, a budget that lasts is spent."""
    await purse.give_back()
    line = next(line for line in purse.lines if line.key == purse.short)
    state = await engine.units.budget(line.key)
    if state.holders:
        return Broke(delay_s=_SOON_S, why="money that other chunks hold")
    code = "budget_spent" if line.lasting else "day_spent"
    waits = not line.lasting and unit.recipe.budget.when_day_spent == "wait"
    if await unit.no_money(code, waits=waits):
        return Broke(code=code)
    return Broke(delay_s=_LATER_S, why="the next day's budget")
