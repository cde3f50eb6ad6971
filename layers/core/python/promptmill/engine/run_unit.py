"""Run one unit from its claim to its end: recover, answer, decide, close."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from msgspec import Struct, structs

from promptmill.domain.budget import lines_for
from promptmill.domain.errors import SupersededError
from promptmill.domain.times import utc_day
from promptmill.domain.units import Claim, Verdict
from promptmill.engine.answer_unit import Answering, Draining, answer_unit
from promptmill.engine.history import History
from promptmill.engine.takeover import correct_refused_costs, recover_unit
from promptmill.engine.unit import Unit, UnitRuntime
from promptmill.engine.unit_budget import UnitBudget, Wait, decide_without_money

MAX_CRASHES = 8
"""Owners in a row that end without journaling anything before the unit is given up."""


class UnitEnd(Struct, frozen=True):
    """``yielded``: send its message again, after ``delay_s``; ``superseded``: somebody else owns it."""

    verdict: Literal["ended", "yielded", "superseded"]
    delay_s: int = 0
    why: str = ""


async def run_unit(
    unit: Unit, claim: Claim, *, runtime: UnitRuntime, stop_code: str = "", draining: Draining | None = None
) -> UnitEnd:
    """``stop_code``: end it without a call, for this reason. An error gives the unit back: it is no crash."""
    try:
        return await _run(unit, claim, runtime, stop_code, draining or Draining())
    except SupersededError:
        return UnitEnd("superseded")
    except Exception:
        with suppress(Exception):  # the first one is raised, and tells more
            await runtime.units.release(unit.name, claim)
        raise


async def _run(unit: Unit, claim: Claim, runtime: UnitRuntime, stop_code: str, draining: Draining) -> UnitEnd:
    history = await recover_unit(unit.name, claim, journals=unit.journals, objects=runtime.objects, units=runtime.units)
    crashed = claim.crashes >= MAX_CRASHES
    if claim.verdict is not None:  # perhaps it was its bytes that brought the others down
        await unit.close(history, structs.replace(claim.verdict, unread=claim.verdict.unread or crashed))
        return UnitEnd("ended")
    unit_budget = await _unit_budget(unit, claim, history, runtime)
    code = stop_code or ("worker_crashed" if crashed else await unit.stop_code())
    if code:
        return await _end(unit, unit_budget, history, Verdict("stopped", code, unread=crashed))
    answering = await answer_unit(unit, unit_budget, history, runtime=runtime, draining=draining)
    return await _follow(unit, unit_budget, history.plus(answering.history), answering, runtime)


async def _follow(
    unit: Unit, unit_budget: UnitBudget, known: History, answering: Answering, runtime: UnitRuntime
) -> UnitEnd:
    match answering.why:
        case "":
            return await _end(unit, unit_budget, known, Verdict("completed"))
        case "superseded":
            await correct_refused_costs(unit, unit_budget.claim, answering.refused, runtime=runtime)
            return UnitEnd("superseded")
        case "shut":
            return await _end(unit, unit_budget, known, Verdict("stopped", await unit.stop_code() or "stopped"))
        case "money":
            broke = await decide_without_money(unit, unit_budget, runtime=runtime)
            if broke.code:
                return await _end(unit, unit_budget, known, Verdict("stopped", broke.code))
            return await _yield(unit, unit_budget, answering, runtime, broke)
        case _:
            return await _yield(unit, unit_budget, answering, runtime, Wait(delay_s=answering.delay_s))


async def _end(unit: Unit, unit_budget: UnitBudget, known: History, verdict: Verdict) -> UnitEnd:
    await unit_budget.decide(verdict)
    await unit.close(known, verdict)
    return UnitEnd("ended")


async def _yield(
    unit: Unit, unit_budget: UnitBudget, answering: Answering, runtime: UnitRuntime, wait: Wait
) -> UnitEnd:
    """What it holds is kept unless it waits for long."""
    if answering.fault is not None:
        raise answering.fault
    if wait.delay_s:
        await unit_budget.give_back()
    if not await runtime.units.release(unit.name, unit_budget.claim):
        return UnitEnd("superseded")
    return UnitEnd("yielded", wait.delay_s, wait.why or answering.why)


async def _unit_budget(unit: Unit, claim: Claim, history: History, runtime: UnitRuntime) -> UnitBudget:
    """What is left of another day goes back to the budgets of that day."""
    today = utc_day(runtime.clock.now())

    def unit_budget(day: str, of: Claim) -> UnitBudget:
        recipe = unit.recipe
        lines = lines_for(recipe.budget, job_id=unit.job_id, recipe=recipe.name, day=day, day_cap=runtime.day_cap)
        return UnitBudget(unit.name, of, day=day, lines=lines, gate=unit.gate, used=history.used, units=runtime.units)

    if claim.holds and claim.day != today:
        before = unit_budget(claim.day, claim)
        await before.give_back()
        claim = before.claim
    return unit_budget(today, claim)
